"""timm's networks: by name, and how to read their sizes off a state_dict."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import ModuleType

from torch import nn

from condcli.errors import UsageError
from condcli.models.shapes import Shapes, shapes_of

PREFIX = "timm:"


def timm_names() -> list[str]:
    """The names that `timm:NAME` takes; none where timm is not installed."""
    try:
        import timm
    except ImportError:
        return []
    names: list[str] = timm.list_models()
    return names


def timm_network(name: str, **args: object) -> nn.Module:
    """timm's network `name` with random weights; `args` are those of its create_model."""
    network: nn.Module = _timm().create_model(name, pretrained=False, **args)
    return network


def timm_sizes(usual: nn.Module, shapes: Shapes) -> dict[str, object]:
    """The arguments of `timm_network` that the names and shapes of a state_dict tell.

    `usual` is the network without them: of each, timm says which tensors are the classifier's and
    the first convolution's.
    """
    config: Mapping[str, object] = usual.pretrained_cfg  # type: ignore[assignment]  # timm's own
    expected = shapes_of(usual.state_dict())
    sizes: dict[str, object] = {}
    for head in (f"{name}.weight" for name in _names(config.get("classifier"))):
        if head in expected:  # a backbone is saved without it
            sizes["num_classes"] = shapes[head][0] if shapes.get(head) else 0
    for stem in (f"{name}.weight" for name in _names(config.get("first_conv"))):
        if stem in expected and len(shapes.get(stem, ())) == 4 and shapes[stem] != expected[stem]:
            sizes["in_chans"] = shapes[stem][1]
    return sizes


def check_timm_name(name: str) -> None:
    """Raises UsageError for a name that timm does not know, or without timm."""
    _timm()
    known = timm_names()
    if name not in known:
        near = [PREFIX + each for each in get_close_matches(name, known)]
        raise UsageError(
            f"timm has no network {name!r}",
            f"did you mean {' or '.join(near)}?" if near else "timm.list_models() names them",
        )


def _names(word: object) -> tuple[str, ...]:
    if isinstance(word, str):
        return (word,)
    return tuple(map(str, word)) if isinstance(word, (list, tuple)) else ()


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise UsageError("timm is not installed", "pip install 'condcli[timm]'") from None
    module: ModuleType = timm
    return module

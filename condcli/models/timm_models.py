"""timm's networks: by name, and how to read their sizes off a state_dict."""

from __future__ import annotations

from difflib import get_close_matches
from types import ModuleType

from torch import nn

from condcli.errors import UsageError
from condcli.models.shapes import Shapes

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


def timm_sizes(name: str, shapes: Shapes) -> dict[str, object]:
    """The arguments of `timm_network` that the names and shapes of a state_dict tell.

    timm says of each network which tensors are the classifier's and the first convolution's.
    """
    config = _timm().get_pretrained_cfg(name)
    if config is None:
        return {}
    sizes: dict[str, object] = {}
    for head in (f"{module}.weight" for module in _names(config.classifier)):
        sizes["num_classes"] = shapes[head][0] if shapes.get(head) else 0  # saved without a head
    for stem in (f"{module}.weight" for module in _names(config.first_conv)):
        if len(shapes.get(stem, ())) == 4 and shapes[stem][1] != config.input_size[0]:
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

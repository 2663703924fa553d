"""A checkpoint and an architecture become a module with the checkpoint's weights, or one error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from torch import Tensor, nn
from torch.fx import GraphModule

from condcli.errors import InputError, UnsafeError, UsageError
from condcli.models.architecture import FORMS, Architecture, find_architecture
from condcli.models.checkpoint import Checkpoint, read_checkpoint
from condcli.models.config import named_by
from condcli.models.match import Match
from condcli.models.parts import match_part, parts
from condcli.models.shapes import shapes_built, shapes_of
from condcli.models.timm_models import PREFIX as TIMM_PREFIX
from condcli.models.timm_models import timm_names
from condcli.models.vision import PREFIX, vision_names
from condcli.models.weights import adopt, fill, network_for, use_one_precision
from condcli.models.zoo import ZOO


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A network with a checkpoint's weights, on the CPU, in float32 or, if they are, float64."""

    module: nn.Module
    arch: str  # for people: mlp(depth=20, norm=bn), torchvision:resnet18(num_classes=10) …
    checkpoint: Checkpoint
    notes: tuple[str, ...]  # what the user should know: the checkpoint's notes, then the build's


def load(
    path: str | Path,
    *,
    arch: str | None = None,
    arch_args: Mapping[str, object] | None = None,
    trust: bool = False,
    weights: str | None = None,
) -> Model:
    """The network in the checkpoint at `path`; see `read_checkpoint` and `build` for the errors."""
    checkpoint = read_checkpoint(Path(path), trust=trust, weights=weights)
    return build(checkpoint, arch=arch, arch_args=arch_args)


def build(
    checkpoint: Checkpoint,
    *,
    arch: str | None = None,
    arch_args: Mapping[str, object] | None = None,
) -> Model:
    """The checkpoint's network: of `arch`, else of its own word, else of what its tensors match.

    `arch_args` go before the checkpoint's own, and those before what its tensors' shapes tell.
    Raises UsageError for an unknown architecture or argument, UnsafeError when the checkpoint
    wants code to be run that the user did not name, and InputError when its tensors do not fit.
    """
    if checkpoint.module is not None:
        return _model_of_module(checkpoint, checkpoint.module, arch, arch_args or {})
    state_dict = checkpoint.state_dict or {}
    architecture, how = _architecture(checkpoint, state_dict, arch, arch_args or {})
    own_word = arch is None or arch == checkpoint.arch
    if architecture.adopt is not None:
        filled = adopt(architecture.adopt, architecture, checkpoint, state_dict)
    else:
        with _blamed_on(checkpoint) if own_word else nullcontext():
            module = network_for(architecture, state_dict)
        filled = fill(module, architecture, checkpoint, state_dict)
    precision = use_one_precision(filled.module, state_dict)
    return Model(
        module=filled.module,
        arch=str(architecture),
        checkpoint=checkpoint,
        notes=(*checkpoint.notes, *how, *filled.notes, *precision),
    )


def own_architecture(checkpoint: Checkpoint) -> str | None:
    """The checkpoint's own word as --arch takes it; None if it has none, or another program's.

    Raises UnsafeError when the word is code to be run: a file must not choose that.
    """
    word = checkpoint.arch
    if word is None or word in ZOO or word.startswith((PREFIX, TIMM_PREFIX)):
        return word
    if ":" in word:
        raise UnsafeError(
            f"{checkpoint.path} wants the code {word!r} to be run",
            "give it yourself with --arch, if you trust it",
        )
    if word in vision_names():
        return PREFIX + word
    return TIMM_PREFIX + word if word in timm_names() else None


def _model_of_module(
    checkpoint: Checkpoint, module: nn.Module, arch: str | None, arch_args: Mapping[str, object]
) -> Model:
    useless = [f"--arch {arch}"] if arch is not None else []
    useless += [f"--arch-arg {key}={value}" for key, value in arch_args.items()]
    if useless:
        raise UsageError(
            f"{checkpoint.path} holds a whole network, so {useless[0]} has no use",
            f"leave out {useless[0].split()[0]}",
        )
    precision = use_one_precision(module, module.state_dict())
    return Model(
        module=module,
        arch=checkpoint.format if isinstance(module, GraphModule) else type(module).__qualname__,
        checkpoint=checkpoint,
        notes=(*checkpoint.notes, *precision),
    )


def _architecture(
    checkpoint: Checkpoint,
    state_dict: Mapping[str, Tensor],
    arch: str | None,
    arch_args: Mapping[str, object],
) -> tuple[Architecture, Sequence[str]]:
    """The architecture, and a note if it was found by matching."""
    own_args = checkpoint.arch_args or {}
    if arch is not None:
        args = {**own_args, **arch_args} if arch == checkpoint.arch else arch_args
        return _sized(arch, args, state_dict), ()
    word = own_architecture(checkpoint)
    if word is not None:
        with _blamed_on(checkpoint):
            find_architecture(word, own_args)
        return _sized(word, {**own_args, **arch_args}, state_dict), ()
    if checkpoint.config is not None and checkpoint.path.is_dir():
        return _of_config(checkpoint.config, arch_args, state_dict)
    part, matches = match_part(state_dict)
    if checkpoint.config is not None and sum(each.fits for each in matches) != 1:
        return _of_config(checkpoint.config, arch_args, state_dict)
    name = _the_one_that_fits(checkpoint, matches).name
    architecture = find_architecture(name, arch_args, shapes_of(part))
    return architecture, [f"architecture found by its tensors' names and shapes: {architecture}"]


def _sized(name: str, args: Mapping[str, object], state_dict: Mapping[str, Tensor]) -> Architecture:
    """The named architecture, its sizes read off the part of the tensors that are its own."""
    whole = find_architecture(name, args, shapes_of(state_dict))
    others = islice(parts(state_dict), 1, None) if whole.is_built_in else ()
    for part in others:
        sized = find_architecture(name, args, shapes_of(part))
        if sized.args != whole.args and _is_of(part, sized):
            return sized
    return whole


def _is_of(part: Mapping[str, Tensor], architecture: Architecture) -> bool:
    try:
        return shapes_built(architecture.build) == shapes_of(part)
    except InputError:  # sizes read off another network's tensors need not make one
        return False


def _of_config(
    config: Path, arch_args: Mapping[str, object], state_dict: Mapping[str, Tensor]
) -> tuple[Architecture, Sequence[str]]:
    """The architecture that the config.json in the checkpoint's folder names."""
    name, own_args = named_by(config)
    architecture = _sized(name, {**own_args, **arch_args}, state_dict)
    return architecture, [f"architecture named by {config.name}: {architecture}"]


@contextmanager
def _blamed_on(checkpoint: Checkpoint) -> Iterator[None]:
    """A wrong word in the file is not a wrong word on the command line."""
    try:
        yield
    except (UsageError, InputError) as error:
        raise InputError(f"{checkpoint.path}: {error.message}", error.remedy) from error


def _the_one_that_fits(checkpoint: Checkpoint, matches: Sequence[Match]) -> Architecture:
    fitting = [str(each.architecture) for each in matches if each.fits]
    if len(fitting) == 1:
        return matches[0].architecture
    if fitting:
        raise InputError(
            f"{checkpoint.path} fits several architectures: {', '.join(fitting)}",
            f"say which with --arch {' or '.join(each.architecture.name for each in matches)}",
        )
    word = f" and calls itself {checkpoint.arch!r}" if checkpoint.arch else ""
    nearest = ", ".join(f"{each.architecture} ({each.share:.0%} of tensors)" for each in matches)
    raise InputError(
        f"{checkpoint.path} fits no known architecture{word}"
        + (f", nearest: {nearest}" if nearest else ""),
        f"name it with --arch: {FORMS}",
    )

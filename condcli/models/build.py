"""A checkpoint and an architecture become a module with the checkpoint's weights, or one error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from condcli.errors import InputError, UnsafeError, UsageError
from condcli.models.architecture import FORMS, Architecture, find_architecture
from condcli.models.checkpoint import Checkpoint, read_checkpoint
from condcli.models.match import Match, match
from condcli.models.shapes import shapes_of
from condcli.models.vision import PREFIX, vision_names
from condcli.models.weights import fill, network_for, use_one_precision
from condcli.models.zoo import ZOO


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A network with a checkpoint's weights, on the CPU, in float32 or, if they are, float64."""

    module: nn.Module
    arch: str  # for people: mlp(depth=20, norm=bn), torchvision:resnet18(num_classes=10) …
    checkpoint: Checkpoint
    notes: tuple[str, ...]  # what the user should know: the checkpoint's notes, then the build's


def load(
    path: Path,
    *,
    arch: str | None = None,
    arch_args: Mapping[str, object] | None = None,
    trust: bool = False,
) -> Model:
    """The network in the checkpoint at `path`; see `read_checkpoint` and `build` for the errors."""
    return build(read_checkpoint(path, trust=trust), arch=arch, arch_args=arch_args)


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
    with _blamed_on(checkpoint) if own_word else nullcontext():
        module = network_for(architecture, state_dict)
    fill(module, architecture, checkpoint, state_dict)
    precision = use_one_precision(module, state_dict)
    return Model(
        module=module,
        arch=str(architecture),
        checkpoint=checkpoint,
        notes=(*checkpoint.notes, *how, *precision),
    )


def own_architecture(checkpoint: Checkpoint) -> str | None:
    """The checkpoint's own word as --arch takes it; None if it has none, or another program's.

    Raises UnsafeError when the word is code to be run: a file must not choose that.
    """
    word = checkpoint.arch
    if word is None or word in ZOO or word.startswith(PREFIX):
        return word
    if ":" in word:
        raise UnsafeError(
            f"{checkpoint.path} wants the code {word!r} to be run",
            "give it yourself with --arch, if you trust it",
        )
    return PREFIX + word if word in vision_names() else None


def _model_of_module(
    checkpoint: Checkpoint, module: nn.Module, arch: str | None, arch_args: Mapping[str, object]
) -> Model:
    useless = [f"--arch {arch}"] if arch is not None else []
    useless += [f"--arch-arg {key}={value}" for key, value in arch_args.items()]
    if useless:
        raise UsageError(
            f"{checkpoint.path} is a whole pickled module, so {useless[0]} has no use",
            f"leave out {useless[0].split()[0]}",
        )
    precision = use_one_precision(module, module.state_dict())
    return Model(
        module=module,
        arch=type(module).__qualname__,
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
    shapes = shapes_of(state_dict)
    if arch is not None:
        args = {**own_args, **arch_args} if arch == checkpoint.arch else arch_args
        return find_architecture(arch, args, shapes), ()
    word = own_architecture(checkpoint)
    if word is not None:
        with _blamed_on(checkpoint):
            find_architecture(word, own_args)
        return find_architecture(word, {**own_args, **arch_args}, shapes), ()
    name = _the_one_that_fits(checkpoint, match(state_dict)).name
    architecture = find_architecture(name, arch_args, shapes)
    return architecture, [f"architecture found by its tensors' names and shapes: {architecture}"]


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

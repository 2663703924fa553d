"""What a checkpoint holds, without building its network: the facts behind `condcli inspect`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from condcli.models.checkpoint import Checkpoint, read_checkpoint
from condcli.models.guesses import Spec, Specs, guess_layers, tree_of
from condcli.models.match import Match
from condcli.models.outline import ModuleRow, outline, trained
from condcli.models.parts import match_part

SHOWN = 2  # differences of each of the nearest architectures


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRow:
    """One tensor of a state_dict."""

    name: str = field(metadata={"title": "tensor"})
    shape: str = field(metadata={"title": "shape"})  # 64×3×7×7; empty for a single number
    dtype: str = field(metadata={"title": "dtype", "drop": 1})
    parameters: int = field(metadata={"title": "parameters"})  # 0 for buffers
    std: float = field(metadata={"title": "std", "drop": 2})  # of its values, uncorrected
    max_abs: float = field(metadata={"title": "max |·|", "drop": 2})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckpointDescription:
    """Facts by name, in the order to show them, and what there is to say of modules and tensors."""

    facts: Mapping[str, str]
    specs: Specs
    state_dict: Mapping[str, Tensor]

    def modules(self) -> tuple[ModuleRow, ...]:
        """The tree of modules that the names tell, with a guess for each."""
        root = tree_of(self.specs)
        return outline(root, guess_layers(root))

    def tensors(self) -> tuple[TensorRow, ...]:
        """One row a tensor, with the spread of its values."""
        return tuple(_row(name, tensor) for name, tensor in self.state_dict.items())


def describe(
    path: Path, *, trust: bool = False, weights: str | None = None
) -> CheckpointDescription:
    """What is in the checkpoint at `path`, and which architecture it is of, or nearest to.

    Raises as `read_checkpoint` does; that no architecture fits is a fact, not an error.
    """
    checkpoint = read_checkpoint(path, trust=trust, weights=weights)
    tensors = checkpoint.state_dict
    if checkpoint.module is not None:
        tensors = checkpoint.module.state_dict()
    state_dict = {name: each for name, each in (tensors or {}).items() if isinstance(each, Tensor)}
    specs = {name: _spec(tensor) for name, tensor in state_dict.items()}
    facts = dict(_facts(checkpoint, specs))
    return CheckpointDescription(facts=facts, specs=specs, state_dict=state_dict)


def _facts(checkpoint: Checkpoint, specs: Specs) -> Iterator[tuple[str, str]]:
    architecture = tuple(_architecture(checkpoint))  # takes its time while the file is hashed
    yield "file", str(checkpoint.path)
    yield "size", f"{checkpoint.size:,} bytes"
    yield "format", checkpoint.format
    yield "sha256", checkpoint.sha256
    yield "contents", checkpoint.contents
    own_words = {
        "step": checkpoint.step,
        "data": checkpoint.data,
        "normalize": checkpoint.normalize,
    }
    yield from ((name, str(word)) for name, word in own_words.items() if word is not None)
    counts = {name: trained(name, spec) for name, spec in specs.items()}
    yield "tensors", f"{len(specs):,}"
    yield "parameters", f"{sum(counts.values()):,}"
    yield "dtype", ", ".join(sorted({specs[name].dtype for name, count in counts.items() if count}))
    yield from architecture
    if checkpoint.notes:
        yield "notes", ", ".join(checkpoint.notes)


def _architecture(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    """What it is, else what it is near to, and what to type next."""
    probe = f"condcli probe {_word(checkpoint.path)} --data DATA"
    if checkpoint.module is not None:
        yield "architecture", f"{type(checkpoint.module).__qualname__}, saved whole"
        yield "next", f"{probe} --trust"
    elif checkpoint.arch is not None:
        args = checkpoint.arch_args or {}
        given = ", ".join(f"{key}={value}" for key, value in args.items())
        yield "architecture", f"{checkpoint.arch}{f'({given})' if given else ''}, by its own word"
        yield "next", probe.removesuffix(" --data DATA") if checkpoint.data else probe
    else:
        yield from _matched(checkpoint, probe)


def _matched(checkpoint: Checkpoint, probe: str) -> Iterator[tuple[str, str]]:
    _, matches = match_part(checkpoint.state_dict or {})
    fitting = [each.architecture for each in matches if each.fits]
    if len(fitting) == 1:
        yield "architecture", f"{fitting[0]}, by names and shapes"
        yield "next", probe
    elif checkpoint.config is not None:
        yield "architecture", f"as {checkpoint.config} says"
        yield "next", probe
    elif fitting:
        names = " or ".join(map(str, fitting))
        yield "architecture", f"{names}: the same tensors, used in different ways"
        yield "next", f"{probe} --arch {' or '.join(each.name for each in fitting)}"
    else:
        yield "architecture", "fits none that is known"
        yield from ((f"nearest {k}", _compared(each)) for k, each in enumerate(matches, start=1))
        yield "next", _scaffolding(checkpoint.path, probe)


def _compared(match: Match) -> str:
    """torchvision:resnet18(num_classes=10): 1 of 102 tensors differs: conv1.weight …"""
    count = len(match.differences)
    more = f" and {count - SHOWN} more" if count > SHOWN else ""
    return (
        f"{match.architecture}: {count} of {match.tensors} tensors "
        f"{'differs' if count == 1 else 'differ'}: {', '.join(match.differences[:SHOWN])}{more}"
    )


def _scaffolding(path: Path, probe: str) -> str:
    return f"condcli inspect {_word(path)} --scaffold model.py; then {probe} --arch model.py:build"


def _spec(tensor: Tensor) -> Spec:
    return Spec(tuple(tensor.shape), _dtype(tensor))


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _row(name: str, tensor: Tensor) -> TensorRow:
    values = tensor.double()
    spec = _spec(tensor)
    return TensorRow(
        name=name,
        shape="×".join(map(str, spec.shape)),
        dtype=spec.dtype,
        parameters=trained(name, spec),
        std=values.std(correction=0).item() if values.numel() else math.nan,
        max_abs=values.abs().max().item() if values.numel() else math.nan,
    )


def _word(path: Path) -> str:
    """The path as it is typed on a command line, where a dash would begin an option."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))

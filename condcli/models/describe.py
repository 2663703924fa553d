"""What a checkpoint holds, without building its network: the facts behind `condcli inspect`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from condcli.models.checkpoint import Checkpoint, read_checkpoint
from condcli.models.match import match

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # of BN: tensors, not parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRow:
    """One tensor of a state_dict."""

    name: str = field(metadata={"title": "tensor"})
    shape: str = field(metadata={"title": "shape"})  # 64×3×7×7; empty for a single number
    dtype: str = field(metadata={"title": "dtype", "drop": 1})
    parameters: int = field(metadata={"title": "parameters"})  # 0 for BN's buffers
    std: float = field(metadata={"title": "std", "drop": 2})  # of its values, uncorrected
    max_abs: float = field(metadata={"title": "max |·|", "drop": 2})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointDescription:
    """Facts by name, in the order to show them, and one row a tensor."""

    facts: Mapping[str, str]
    tensors: tuple[TensorRow, ...]


def describe(path: Path, *, trust: bool = False) -> CheckpointDescription:
    """What is in the checkpoint at `path`, and which architecture it is of, or nearest to.

    Raises as `read_checkpoint` does; that no architecture fits is a fact, not an error.
    """
    checkpoint = read_checkpoint(path, trust=trust)
    tensors = checkpoint.state_dict
    if checkpoint.module is not None:
        tensors = checkpoint.module.state_dict()
    rows = tuple(_row(name, tensor) for name, tensor in (tensors or {}).items())
    return CheckpointDescription(facts=dict(_facts(checkpoint, rows)), tensors=rows)


def _facts(checkpoint: Checkpoint, rows: tuple[TensorRow, ...]) -> Iterator[tuple[str, str]]:
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
    yield "tensors", f"{len(rows):,}"
    yield "parameters", f"{sum(row.parameters for row in rows):,}"
    yield "dtype", ", ".join(sorted({row.dtype for row in rows if row.parameters}))
    yield "architecture", _architecture(checkpoint)
    if checkpoint.notes:
        yield "notes", ", ".join(checkpoint.notes)


def _architecture(checkpoint: Checkpoint) -> str:
    if checkpoint.module is not None:
        return f"{type(checkpoint.module).__qualname__}, pickled whole"
    if checkpoint.arch is not None:
        args = checkpoint.arch_args or {}
        given = ", ".join(f"{key}={value}" for key, value in args.items())
        return f"{checkpoint.arch}{f'({given})' if given else ''}, by its own word"
    matches = match(checkpoint.state_dict or {})
    if not matches:
        return "fits none that is known"
    if matches[0].fits:
        return " or ".join(str(each.architecture) for each in matches) + ", by names and shapes"
    nearest = (f"{each.architecture} ({each.share:.0%} of tensors)" for each in matches)
    return f"fits none that is known; nearest: {', '.join(nearest)}"


def _row(name: str, tensor: Tensor) -> TensorRow:
    values = tensor.double()
    return TensorRow(
        name=name,
        shape="×".join(str(size) for size in tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        parameters=0 if name.endswith(BUFFERS) else tensor.numel(),
        std=values.std(correction=0).item() if values.numel() else math.nan,
        max_abs=values.abs().max().item() if values.numel() else math.nan,
    )

"""Examples that are in memory, as arrays of inputs and of targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from condcli.batch import Batch, Tensors, examples_in, leaves, mapped
from condcli.data.normalization import Normalization, standardization
from condcli.data.probe_set import Examples, IntArray
from condcli.data.tensors import to_tensors
from condcli.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def in_memory(
    inputs: Any,
    targets: Any,
    *,
    source: str,
    split: str = "all",
    classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
    usual: Normalization | None = None,
) -> Examples:
    """Inputs (N, …) and targets (N, …), tensors, arrays, tuples or dicts, in their own dtype.

    Raises InputError, naming `source`, when they are empty, of unequal length or no numbers.
    """
    x = to_tensors(inputs, what=f"{source}: x")
    y = to_tensors(targets, what=f"{source}: y")
    require_paired(x, y, source)

    def fetch(indices: IntArray) -> Batch:
        return mapped(lambda part: part[indices], x), mapped(lambda part: part[indices], y)

    def standard() -> Normalization:
        return standardization(next(leaves(x)))

    return Examples(
        total=examples_in(x),
        fetch=fetch,
        split=split,
        classes=classes,
        class_names=class_names,
        usual=usual,
        standard=standard,
    )


def require_paired(x: Tensors, y: Tensors, source: str) -> None:
    """Raises InputError unless all tensors of `x` and `y` have the same examples, one or more."""
    parts = [*_labelled("x", x), *_labelled("y", y)]
    for name, part in parts:
        least, axes = (2, "(examples, features, …)") if name == "x" else (1, "(examples, …)")
        if part.ndim < least:
            raise InputError(f"{source}: {name} has {part.ndim} axes", f"give it as {axes}")
    first, size = parts[0][0], len(parts[0][1])
    for name, part in parts:
        if len(part) != size:
            raise InputError(
                f"{source}: {first} has {size} examples, but {name} has {len(part)}",
                "give one target for each example",
            )
        if part.numel() == 0:
            raise InputError(
                f"{source}: {name} is empty, of shape {'x'.join(map(str, part.shape))}",
                "give at least one example",
            )


def _labelled(name: str, tensors: Tensors) -> Iterator[tuple[str, Tensor]]:
    """The tensors with what to call them in an error."""
    if isinstance(tensors, Mapping):
        yield from tensors.items()
    elif isinstance(tensors, tuple):
        yield from ((f"{name}[{place}]", part) for place, part in enumerate(tensors))
    else:
        yield name, tensors

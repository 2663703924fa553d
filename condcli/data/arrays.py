"""Examples that are in memory, as one array of inputs and one of targets."""

from __future__ import annotations

from typing import Any

from condcli.data.normalization import Normalization
from condcli.data.probe_set import Batch, Examples, IntArray
from condcli.data.tensors import to_tensor
from condcli.errors import InputError


def in_memory(
    inputs: Any,
    targets: Any,
    *,
    source: str,
    classes: int | None = None,
    usual: Normalization | None = None,
) -> Examples:
    """Inputs (N, *shape) and targets (N, …), tensors or arrays, kept in their own dtype.

    Raises InputError, naming `source`, when they are empty, of unequal length or no numbers.
    """
    x = to_tensor(inputs, what=f"{source}: x")
    y = to_tensor(targets, what=f"{source}: y")
    if x.ndim < 2 or y.ndim < 1:
        raise InputError(
            f"{source}: x has {x.ndim} axes and y {y.ndim}",
            "give x as (examples, features, …) and y as (examples, …)",
        )
    if len(x) != len(y):
        raise InputError(
            f"{source}: x has {len(x)} examples, but y has {len(y)}",
            "give one target for each example",
        )
    if x.numel() == 0:
        raise InputError(
            f"{source}: x is empty, of shape {'x'.join(map(str, x.shape))}",
            "give at least one example",
        )

    def fetch(indices: IntArray) -> Batch:
        return x[indices], y[indices]

    return Examples(
        total=len(x), shape=tuple(x.shape[1:]), fetch=fetch, classes=classes, usual=usual
    )

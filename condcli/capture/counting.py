"""Counting on how many rows each unit meets a condition."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Condition = Callable[[Any], Any]  # of numbers, NumPy's or torch's: where it holds

CACHED_NUMBERS = 2**18  # so many are still in the cache when they are looked at again
COLUMNS = 1024  # rows of fewer are put side by side
LANES = 8  # bytes of one integer
MOST_IN_LANE = 255


def count(numbers: Tensor, unit_axis: int, holds: Condition, real: Tensor | None) -> Tensor:
    """On how many of its rows each unit meets the condition, (units,) int64, on their device.

    Every index but the unit axis is a row, if it is ``real``.
    """
    if numbers.device.type == "cpu" and real is None and numbers.itemsize >= 4:
        return torch.from_numpy(_on_cpu(numbers, unit_axis % numbers.dim(), holds))
    hits: Tensor = holds(numbers.movedim(unit_axis, -1).flatten(0, -2))
    return (hits if real is None else hits & real.flatten()[:, None]).sum(0)


def _on_cpu(numbers: Tensor, unit_axis: int, holds: Condition) -> npt.NDArray[np.int64]:
    """As ``count``; NumPy compares several times faster than torch. No copy of dense numbers."""
    if not numbers.is_contiguous():
        axes = sorted(range(numbers.dim()), key=numbers.stride, reverse=True)
        numbers, unit_axis = numbers.permute(axes), axes.index(unit_axis)
    if unit_axis == numbers.dim() - 1:
        return _of_columns(numbers.flatten(0, -2).numpy(), holds)
    maps = numbers.flatten(unit_axis + 1).unsqueeze(0).flatten(0, -3).numpy()
    found: npt.NDArray[np.int64] = holds(maps).sum(2, dtype=np.int32).sum(0, dtype=np.int64)
    return found


def _of_columns(matrix: npt.NDArray[Any], holds: Condition) -> npt.NDArray[np.int64]:
    """On how many rows of a matrix the condition holds, (columns,).

    Eight answers, a byte each, are added up as one integer, over as many rows as a byte can count.
    """
    rows, columns = matrix.shape
    total = np.zeros(columns, dtype=np.int64)
    side_by_side = LANES // gcd(columns, LANES)
    side_by_side *= -(-COLUMNS // max(1, columns * side_by_side))
    whole = rows // side_by_side
    wide = matrix[: whole * side_by_side].reshape(whole, side_by_side * columns)
    most = min(MOST_IN_LANE, max(1, CACHED_NUMBERS // max(1, wide.shape[1])))
    parts = max(1, -(-whole // most))
    for part in range(parts):
        piece = wide[whole * part // parts : whole * (part + 1) // parts]
        lanes = holds(piece).view(np.uint64).sum(0)
        total += lanes.view(np.uint8).reshape(side_by_side, columns).sum(0, dtype=np.int64)
    total += holds(matrix[whole * side_by_side :]).sum(0)
    return total

"""Whether matrices can be second moments, found in one pass of tiles that fit into the cache.

Eigen-solvers give numbers for any matrix, also for NaN and for half a matrix: look first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from condcli.errors import InputError
from condcli.stats import FloatArray, IntArray

DAMAGED = "the network or its data may produce such numbers: look at both, or probe again"
_TILE = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overview:
    """What one look at G symmetric d × d matrices tells."""

    alive: IntArray  # (G,): units that are not zero in every row
    total: FloatArray  # (G,): the sum of all entries
    size: FloatArray  # (G,): the sum of their magnitudes
    asymmetry: float  # the largest difference between an entry and its mirror image


def look_over(matrices: FloatArray, *, eps: float, name: str) -> Overview:
    """The overview of (G, d, d) matrices that are finite and, to rounding, symmetric.

    Raises `InputError`, beginning with `name`, for others.
    """
    total, size = np.zeros(len(matrices)), np.zeros(len(matrices))
    largest = asymmetry = 0.0
    for groups, rows, columns in _upper_tiles(matrices.shape):
        tile = np.ascontiguousarray(matrices[groups, rows, columns])
        mirror = matrices[groups, columns, rows].swapaxes(1, 2)
        magnitudes = np.abs(tile)
        with np.errstate(invalid="ignore"):  # infinity - infinity
            difference = float(np.abs(tile - mirror).max(initial=0.0))
        sizes = magnitudes.sum(axis=(1, 2), dtype=np.float64)
        largest = max(largest, float(magnitudes.max(initial=0.0)))
        if not (np.isfinite(difference) and np.isfinite(sizes).all()):
            raise InputError(f"{name} holds NaN or infinity", DAMAGED)
        asymmetry = max(asymmetry, difference)
        times = 1 if rows == columns else 2
        total[groups] += times * tile.sum(axis=(1, 2), dtype=np.float64)
        size[groups] += times * sizes
    if asymmetry > matrices.shape[1] * eps * largest:
        raise InputError(f"{name} is not symmetric (by up to {asymmetry:.3g})", DAMAGED)
    alive = np.count_nonzero(np.diagonal(matrices, axis1=1, axis2=2), axis=1)
    return Overview(alive=alive, total=total, size=size, asymmetry=asymmetry)


def _upper_tiles(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice, slice]]:
    """The tiles on and above the diagonals; of small matrices all groups in one."""
    groups, size, _ = shape
    together = max(1, groups) if size <= _TILE else 1
    for group in range(0, groups, together):
        for i in range(0, size, _TILE):
            for j in range(i, size, _TILE):
                yield (
                    slice(group, group + together),
                    slice(i, i + _TILE),
                    slice(j, j + _TILE),
                )

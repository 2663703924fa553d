"""Eigenvalues of second moments, and which of them rounding lets us see."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from condcli.analysis.lanczos import largest_eigenvalues
from condcli.analysis.low_rank import low_rank_eigenvalues
from condcli.analysis.solvers import Solve
from condcli.analysis.soundness import DAMAGED, Overview, look_over
from condcli.analysis.workspace import require_workspace
from condcli.errors import InputError
from condcli.stats import FloatArray, IntArray

_LARGE = 256  # from here on, few rows are worth looking for
_BELOW_NOISE = 1 / 8  # of the noise floor: no error is larger, and most are far smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """The numerical rank of a layer's matrices, all groups together."""

    value: int  # eigenvalues above the noise floor
    ceiling: int  # no more of them can be other than zero
    size: int  # d


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """The eigenvalues of G positive semidefinite d × d matrices; their union is one layer's.

    An eigenvalue at or below the noise floor is not resolved: all that is known is that it lies
    between zero and the floor. Beyond the rank ceiling it is zero. Those of a sketch are below
    the matrices' own, by `error` at most.
    """

    values: FloatArray  # (G, d), descending in each group
    floor: FloatArray  # (G, 1): the noise floor, d · eps · λ_1 of the group
    ceiling: IntArray  # (G, 1): no group has more non-zero eigenvalues than this
    error: float = 0.0  # no larger than the floor

    @cached_property
    def resolved(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Which eigenvalues are above the noise floor, (G, d)."""
        return (self.values > self.floor) & self._possible

    @cached_property
    def lower(self) -> FloatArray:
        """The least that the eigenvalues can be, (G, d), descending in each group."""
        return np.where(self.resolved, self.values, 0.0)

    @cached_property
    def upper(self) -> FloatArray:
        """The most that the eigenvalues can be, (G, d), descending in each group."""
        return np.where(self._possible, np.maximum(self.floor, self.values + self.error), 0.0)

    @property
    def rank(self) -> Rank:
        """How many eigenvalues are resolved, of how many that can be."""
        return Rank(value=int(self.resolved.sum()), ceiling=int(self.ceiling.sum()), size=self.size)

    @property
    def size(self) -> int:
        """The number of eigenvalues, G · d."""
        return self.values.size

    @property
    def largest(self) -> float:
        """λ_max."""
        return float(self.values.max(initial=0.0))

    @property
    def effective_rank(self) -> float | None:
        """exp of the entropy of the resolved eigenvalues, normalised to sum 1; None when all are 0,
        and of a sketch, which lacks those that make it.

        Roy & Vetterli, "The effective rank", EUSIPCO 2007.
        """
        values = self.values[self.resolved]
        if not values.size or self.error:
            return None
        shares = values / values.sum()
        return math.exp(-float(shares @ np.log(shares)))

    def scaled(self, factor: float) -> Spectrum:
        """The spectrum of the matrices times a positive factor."""
        return replace(
            self,
            values=factor * self.values,
            floor=factor * self.floor,
            error=factor * self.error,
        )

    @cached_property
    def _possible(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        return np.arange(self.values.shape[1]) < self.ceiling


def spectrum_of(
    moment: FloatArray, *, rows: int, eps: float, name: str, solve: Solve = np.linalg.eigvalsh
) -> Spectrum:
    """The spectrum of a mean over `rows` of v vᵀ, (d, d) or (G, d, d), measured to precision `eps`.

    A moment of one axis, (d,), is a diagonal. `solve` takes float64 matrices (G, d, d) to their
    eigenvalues (G, d), ascending. Raises `InputError`, beginning with `name`, for a matrix that is
    no second moment.
    """
    if moment.ndim == 1:
        return _spectrum_of_diagonal(np.asarray(moment, dtype=np.float64), rows, name)
    matrices, seen = _checked(moment, eps, name)
    values = _eigenvalues(matrices, np.minimum(seen.alive, rows), eps, solve)
    largest, least = values[:, :1], values[:, -1:]
    if (least < -math.sqrt(eps) * largest).any():
        raise InputError(f"{name} has the eigenvalue {least.min():.3g}, below zero", DAMAGED)
    # A second moment has no negative eigenvalue: one that shows up measures the rounding itself.
    floor = np.maximum(values.shape[1] * eps * largest, -least)
    ceiling = rank_ceiling(seen, rows, eps, floor[:, 0])
    return Spectrum(values=np.maximum(values, 0.0), floor=floor, ceiling=ceiling)


def unknown_spectrum(moment: FloatArray) -> Spectrum:
    """That of a moment, of any form, which is not finite: no eigenvalue is known."""
    groups = len(moment) if moment.ndim == 3 else 1
    return Spectrum(
        values=np.full((groups, moment.shape[-1]), np.nan),
        floor=np.full((groups, 1), np.nan),
        ceiling=np.zeros((groups, 1), dtype=np.int64),
    )


def leading_spectrum_of(
    moment: FloatArray,
    count: int,
    *,
    rows: int,
    eps: float,
    name: str,
    solve: Solve = np.linalg.eigvalsh,
) -> Spectrum:
    """The same with the `count` largest eigenvalues of each group only, each to 1e-10.

    Takes a small fraction of the time for large matrices. Eigenvalues below zero go unnoticed.
    """
    if moment.ndim == 1:
        whole = _spectrum_of_diagonal(np.asarray(moment, dtype=np.float64), rows, name)
        return replace(whole, values=whole.values[:, :count])
    matrices, seen = _checked(moment, eps, name)
    alive = np.minimum(seen.alive, rows)
    groups = []
    for matrix, rank in zip(matrices, alive, strict=True):
        found = largest_eigenvalues(matrix, count)
        if found is None:
            found = _eigenvalues(matrix[None], rank[None], eps, solve)[0]
        groups.append(found[:count])
    values = np.maximum(groups, 0.0)
    floor = matrices.shape[1] * eps * values[:, :1]
    ceiling = rank_ceiling(seen, rows, eps, floor[:, 0])
    return Spectrum(values=values, floor=floor, ceiling=ceiling)


def _checked(moment: FloatArray, eps: float, name: str) -> tuple[FloatArray, Overview]:
    """The moment as exactly symmetric matrices (G, d, d), and what a look at them tells."""
    require_workspace()
    matrices = moment if moment.ndim == 3 else moment[None]
    seen = look_over(matrices, eps=eps, name=name)
    if seen.asymmetry:
        matrices = matrices.astype(np.float64)
        matrices = (matrices + matrices.swapaxes(1, 2)) / 2
    return matrices, seen


def _eigenvalues(matrices: FloatArray, ranks: IntArray, eps: float, solve: Solve) -> FloatArray:
    """All eigenvalues of symmetric matrices of at most these ranks, (G, d), descending."""
    groups, size, _ = matrices.shape
    if size < _LARGE or 2 * ranks.min() > size:
        return solve(matrices.astype(np.float64))[:, ::-1]
    found = np.empty((groups, size))
    for values, matrix, rank in zip(found, matrices, ranks, strict=True):
        values[:] = _eigenvalues_of_large(matrix, int(rank), eps, solve)
    return found


def _eigenvalues_of_large(matrix: FloatArray, rank: int, eps: float, solve: Solve) -> FloatArray:
    """The eigenvalues of one matrix, descending, from a thin factor where that is accurate."""
    found = None
    if 0 < rank <= len(matrix) // 2:
        found = low_rank_eigenvalues(
            matrix, rank=rank, eps=eps, tolerance=_BELOW_NOISE * len(matrix) * eps, solve=solve
        )
    return solve(matrix[None].astype(np.float64))[0, ::-1] if found is None else found


def _spectrum_of_diagonal(diagonal: FloatArray, rows: int, name: str) -> Spectrum:
    """Its own entries: shares of counted tokens, with no rounding and so without a noise floor."""
    if not np.isfinite(diagonal).all():
        raise InputError(f"{name} holds NaN or infinity", DAMAGED)
    if (diagonal < 0).any():
        raise InputError(f"{name} has the eigenvalue {diagonal.min():.3g}, below zero", DAMAGED)
    alive = np.count_nonzero(diagonal)
    return Spectrum(
        values=np.sort(diagonal)[None, ::-1],
        floor=np.zeros((1, 1)),
        ceiling=np.array([[min(alive, rows)]]),
    )


def rank_ceiling(seen: Overview, rows: int, eps: float, floor: FloatArray) -> IntArray:
    """The most non-zero eigenvalues that each group can have, (G, 1).

    One a row, none for a unit that is zero in every row, and one less when the units sum to zero
    in every row, as the gradients of softmax's inputs and of LayerNorm's do. The sum of the matrix
    is then zero but for rounding. It is also alive · uᵀMu for the unit vector u of equal entries,
    so where it is at most alive · floor, the eigenvalue ruled out is under the floor in any case.
    """
    rounding = np.minimum(16 * eps * seen.size, seen.alive * floor)
    sums_to_zero = (np.abs(seen.total) <= rounding) & (seen.alive > 0)
    ceiling: IntArray = np.minimum(seen.alive - sums_to_zero, rows)[:, None]
    return ceiling

"""Condition numbers κ_p = λ_1 / λ_⌈p·d⌉ that say what they do not know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from condcli.analysis.eigenvalues import Spectrum
from condcli.analysis.kronecker import count_products_from, kth_largest_product


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionNumber:
    """One condition number; undefined (no value, no bound) when every eigenvalue is zero."""

    value: float | None  # infinite when the matrix cannot have the rank that κ_p asks for
    lower_bound: float | None  # instead of a value when the eigenvalue is under the noise floor
    rank: int  # numerical rank of the whole matrix
    size: int  # d

    @property
    def least(self) -> float | None:
        """The value, or where only that is known its lower bound; None when undefined."""
        return self.lower_bound if self.value is None else self.value


@lru_cache
def place(percent: float, size: int) -> int:
    """⌈p·d⌉, the place (from 1) of the eigenvalue that κ_p divides by; exact in decimals."""
    return max(1, math.ceil(Fraction(str(percent)) * size / 100))


def condition_number(spectrum: Spectrum, percent: float) -> ConditionNumber:
    """κ_p of one moment, the eigenvalues of its groups taken together."""
    k = place(percent, spectrum.size)
    lower, upper = (_kth_largest(bounds, k) for bounds in (spectrum.lower, spectrum.upper))
    return _condition_number(
        spectrum.largest,
        upper,
        resolved=lower == upper,
        rank=spectrum.rank.value,
        size=spectrum.size,
    )


def kronecker_condition_number(
    a: Spectrum, b: Spectrum, percent: float, *, size: int | None = None
) -> ConditionNumber:
    """κ_p of A ⊗ B, group by group, the eigenvalues of all groups taken together.

    Groups of unlike sizes have zeros behind their own eigenvalues, and `size` is their number.

    For p < 1 it is not the product of the factors' κ_p but an order statistic of all products
    (Proposition 1 of the paper covers p = 1 only).
    """
    size = a.size * b.values.shape[1] if size is None else size
    k = place(percent, size)
    upper = kth_largest_product(a.upper, b.upper, k)
    return _condition_number(
        float((a.values[:, 0] * b.values[:, 0]).max()),
        upper,
        resolved=upper == 0 or count_products_from(a.lower, b.lower, upper) >= k,
        rank=int((a.resolved.sum(axis=1) * b.resolved.sum(axis=1)).sum()),
        size=size,
    )


def _kth_largest(values: np.ndarray[tuple[int, ...], np.dtype[np.floating]], k: int) -> float:
    return float(np.partition(values, values.size - k, axis=None)[values.size - k])


def _condition_number(
    largest: float, upper: float, *, resolved: bool, rank: int, size: int
) -> ConditionNumber:
    """λ_1 over an eigenvalue that is at most `upper`, and exactly that if resolved."""
    ratio = None
    if largest > 0:
        ratio = largest / upper if upper > 0 else math.inf
    return ConditionNumber(
        value=ratio if resolved else None,
        lower_bound=None if resolved else ratio,
        rank=rank,
        size=size,
    )

"""The spectrum of a moment that a factor stands for: Σ = FᵀF, or nearly so.

The eigenvalues of FᵀF other than zero are those of the Gram matrix F Fᵀ, k × k.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from condcli.analysis.eigenvalues import Spectrum, rank_ceiling
from condcli.analysis.lanczos import largest_eigenvalues
from condcli.analysis.solvers import Solve
from condcli.analysis.soundness import DAMAGED, Overview
from condcli.errors import InputError
from condcli.stats import FloatArray, IntArray, LayerStats

_COLUMNS = 4096  # that are taken at once in float64


def factor_spectrum_of(
    factor: FloatArray,
    error: float,
    *,
    rows: int,
    eps: float,
    name: str,
    solve: Solve = np.linalg.eigvalsh,
    count: int | None = None,
) -> Spectrum:
    """The spectrum of a mean over `rows` of v vᵀ that is within `error` of FᵀF, in the 2-norm.

    F is (k, d) or (G, k, d), measured to precision `eps`. With `count`, only so many of the largest
    of each group. Raises `InputError`, beginning with `name`, for a factor that is not finite.
    """
    stack = factor if factor.ndim == 3 else factor[None]
    if not np.isfinite(stack).all():
        raise InputError(f"{name} holds NaN or infinity", DAMAGED)
    groups, _, size = stack.shape
    values = np.zeros((groups, size if count is None else min(count, size)))
    for own, each in zip(values, stack, strict=True):
        found = _eigenvalues(gram(each), count, solve)[: len(own)]
        own[: len(found)] = np.maximum(found, 0.0)
    noise = min(stack.shape[1:]) * eps * values[:, :1]
    return Spectrum(
        values=values,
        floor=np.maximum(noise, error),
        ceiling=_ceiling(stack, rows, eps, noise[:, 0], exact=not error),
        error=error,
    )


def mean_squares(layer: LayerStats, side: str) -> FloatArray:
    """The mean over rows of each feature's square, (d,), for the "input" or "grad" of a layer: the
    diagonal of its moment. Of a sketch they are too small, by its error at most.
    """
    moment, factor = getattr(layer, f"{side}_moment"), getattr(layer, f"{side}_factor")
    if moment is None:
        found: FloatArray = np.einsum("...kd,...kd->...d", factor, factor, dtype=np.float64)
    else:
        found = moment if moment.ndim == 1 else np.diagonal(moment, axis1=-2, axis2=-1)
    return found.ravel()


def stacked(
    factors: Sequence[FloatArray],
    errors: Sequence[float],
    weights: Sequence[float],
    *,
    most: int = 256,
) -> tuple[FloatArray, float]:
    """F and its error for the weighted sum of the moments that factors stand for.

    Where all are exact, their rows come together. Of sketches at `most` so many are kept, or as
    many as the longest has; the largest eigenvalue that goes is added to the error.
    """
    most, found, error = max([most, *(each.shape[-2] for each in factors)]), None, 0.0
    for factor, own, weight in zip(factors, errors, weights, strict=True):
        scaled = factor.astype(np.float64) * weight**0.5
        found = scaled if found is None else np.concatenate([found, scaled], axis=-2)
        error += own * weight
        if any(errors) and found.shape[-2] > most and np.isfinite(found).all():
            found, dropped = _shortened(found, most)
            error += dropped
    assert found is not None
    return found, error


def _shortened(factor: FloatArray, most: int) -> tuple[FloatArray, float]:
    """The best F of so many rows, and how far FᵀF is from what it was."""
    values, vectors = np.linalg.eigh(factor @ factor.swapaxes(-1, -2))
    best = vectors[..., ::-1][..., :most]
    return best.swapaxes(-1, -2) @ factor, float(values[..., -most - 1].max())


def gram(factor: FloatArray) -> FloatArray:
    """F Fᵀ, or FᵀF where that is smaller, of (k, d) in float64."""
    factor = factor if len(factor) <= factor.shape[1] else factor.T
    found = np.zeros((len(factor), len(factor)))
    for start in range(0, factor.shape[1], _COLUMNS):
        part = factor[:, start : start + _COLUMNS].astype(np.float64)
        found += part @ part.T
    return found


def _eigenvalues(matrix: FloatArray, count: int | None, solve: Solve) -> FloatArray:
    """All, or at least the `count` largest, descending."""
    found = None if count is None else largest_eigenvalues(matrix, count)
    return solve(matrix[None])[0, ::-1] if found is None else found


def _ceiling(
    stack: FloatArray, rows: int, eps: float, floor: FloatArray, *, exact: bool
) -> IntArray:
    """The most eigenvalues other than zero, (G, 1); what a sketch lacks may be anywhere."""
    if not exact:
        return np.full((len(stack), 1), min(rows, stack.shape[2]))
    alive = np.count_nonzero(stack.any(axis=1), axis=1)
    sums = stack.sum(axis=2, dtype=np.float64)
    magnitudes = np.abs(stack).sum(axis=2, dtype=np.float64)
    seen = Overview(
        alive=alive, total=(sums**2).sum(axis=1), size=(magnitudes**2).sum(axis=1), asymmetry=0.0
    )
    return rank_ceiling(seen, rows, eps, floor)

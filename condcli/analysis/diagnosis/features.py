"""What Σ_x and the mean m of its rows tell of a layer's input, without another decomposition.

Σ_x = C + m mᵀ, C the covariance. So ‖m‖² / λ_max(Σ_x) is at most 1 and says how much of the largest
eigenvalue is the mean's, and ‖m‖² / tr Σ_x which share of the squared input is the same in every
row. Features are copies where nothing is left of the variance of one but what the other explains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from condcli.analysis.eigenvalues import Spectrum
from condcli.stats import FloatArray, LayerStats

_BLOCK = 256  # rows of a covariance in memory at a time
_WIDEST = 4096  # of wider inputs, copies are not looked for
_ROUNDING = 64  # times eps: what is left of the square of a feature that another one explains
_VARIED = 0.05  # share of its own square that must vary, for rounding not to decide
_USUAL = 0.1  # of the median variance: a feature that few rows have is not compared


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """The input of one layer; shares are 0 where the input is zero."""

    mean_square: float  # of one number: tr Σ_x / d
    mean_share: float  # ‖m‖² / tr Σ_x
    mean_share_of_largest: float  # ‖m‖² / λ_max(Σ_x), of the group that has it
    # (tr C)² / ‖C‖_F², how many directions the rows vary in; None for groups and tables
    directions: float | None
    silent: int  # features that are zero in every row
    constant: int  # features that are the same in every row, zero or not
    non_negative: bool  # no entry of Σ_x or m is below zero, as where no feature ever is
    spread: float  # the largest mean square of a feature over the median of those not silent
    copies: tuple[tuple[int, int], ...]  # (feature, the first one that it repeats or scales)


def features_of(layer: LayerStats, spectrum: Spectrum, eps: float) -> Features:
    """The features of a layer whose moment is finite; `eps` is that of the probe's dtype."""
    moment = layer.input_moment
    assert moment is not None, "a factor does not tell them"
    squares = moment if moment.ndim == 1 else np.diagonal(moment, axis1=-2, axis2=-1)
    squares = squares.astype(np.float64).reshape(len(spectrum.values), -1)  # (G, d / G)
    means = layer.input_mean.astype(np.float64).reshape(squares.shape)
    variances = np.maximum(squares - means**2, 0.0)
    total = float(squares.sum())
    of_means = (means**2).sum(axis=1)
    leading = int(spectrum.values[:, 0].argmax())
    alone = moment.ndim == 2
    varied = alone and 1 < layer.d_in <= _WIDEST
    return Features(
        mean_square=total / layer.d_in,
        mean_share=_ratio(float(of_means.sum()), total),
        mean_share_of_largest=_ratio(of_means[leading], spectrum.largest),
        directions=_directions(moment, means[0], variances) if alone else None,
        silent=int(np.count_nonzero(squares == 0)),
        constant=int(np.count_nonzero(variances <= _ROUNDING * eps * squares)),
        non_negative=bool((means >= 0).all() and (moment >= 0).all()),
        spread=_ratio(float(squares.max()), _median(squares[squares > 0]), most=math.inf),
        copies=tuple(_copies(moment, means[0], variances[0], eps)) if varied else (),
    )


def _ratio(part: float, whole: float, *, most: float = 1.0) -> float:
    return min(part / whole, most) if whole else 0.0


def _median(values: FloatArray) -> float:
    return float(np.median(values)) if values.size else 0.0


def _directions(moment: FloatArray, mean: FloatArray, variances: FloatArray) -> float:
    """(tr C)² / ‖C‖_F², the participation ratio of C's eigenvalues; 0 where nothing varies."""
    squared = sum(float((rows**2).sum()) for rows in _covariance(moment, mean))
    return float(variances.sum()) ** 2 / squared if squared else 0.0


def _covariance(moment: FloatArray, mean: FloatArray) -> Iterator[FloatArray]:
    """Some rows of C at a time, (…, d), in float64."""
    for start in range(0, len(mean), _BLOCK):
        part = slice(start, start + _BLOCK)
        yield moment[part].astype(np.float64) - np.outer(mean[part], mean)


def _copies(
    moment: FloatArray, mean: FloatArray, variances: FloatArray, eps: float
) -> Iterator[tuple[int, int]]:
    """Each feature that is a multiple of one before it, plus a constant, and that one."""
    squares = np.diagonal(moment)
    compared = variances > _VARIED * squares
    if not compared.any():
        return
    compared &= variances > _USUAL * np.median(variances[compared])
    chosen = np.flatnonzero(compared)
    variance, square = variances[chosen], squares[chosen]
    for start in range(0, len(chosen), _BLOCK):
        rows = slice(start, start + _BLOCK)
        part = chosen[rows]
        covariance = moment[np.ix_(part, chosen)] - np.outer(mean[part], mean[chosen])
        left = variance[rows, None] - covariance**2 / variance
        same = left <= _ROUNDING * eps * square[rows, None]
        first = same.argmax(axis=1)  # itself at the latest
        for feature, original in zip(part, chosen[first], strict=True):
            if original < feature:
                yield int(feature), int(original)

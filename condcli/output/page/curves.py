"""Long arrays, thinned and rounded to what a picture can show."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from condcli.analysis.scaling import Factors
from condcli.analysis.singular_values import ACCURACY
from condcli.stats import ActivationStats, FloatArray, LayerStats

DIGITS = 4  # that numbers keep
BINS = 20  # of a histogram
Number = float | None  # None where JSON has no number


def places(size: int, points: int) -> npt.NDArray[np.int64]:
    """At most so many of the places 0 … size - 1, ascending: the first, the last, and between them
    the closer the nearer to the first.
    """
    if size <= points:
        return np.arange(size)
    return np.unique(np.round(np.linspace(0, 1, points) ** 2 * (size - 1)).astype(np.int64))


def rounded(value: float | None) -> Number:
    """The number to `DIGITS` digits; None for NaN and infinity."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def curve(values: FloatArray, points: int) -> dict[str, Any]:
    """Values in descending order at their `places`, and how many there are; null for 0 and NaN."""
    descending = np.sort(values, axis=None)[::-1]
    kept = [rounded(float(value)) or None for value in descending[places(descending.size, points)]]
    return {"size": descending.size, "values": kept}


def curves_of(layer: LayerStats, factors: Factors, points: int) -> dict[str, Any]:
    """The resolved eigenvalues of Σ_x and Σ_∇h as reported, the largest noise floor of each, and
    the singular values of W and of ∂L/∂W, as far as they are known.
    """
    return {
        "input": curve(factors.input.lower, points),
        "grad": curve(factors.grad.lower, points),
        "input_floor": rounded(float(factors.input.floor.max(initial=0.0))),
        "grad_floor": rounded(float(factors.grad.floor.max(initial=0.0))),
        "weight": curve(_known(layer.weight_singular_values), points),
        "weight_grad": curve(_known(layer.weight_grad_singular_values), points),
    }


def _known(values: FloatArray) -> FloatArray:
    """Singular values, with 0 for those that are within the error of the largest."""
    return np.where(values > ACCURACY * values.max(initial=0.0), values, 0.0)


def activity(activation: ActivationStats) -> dict[str, Any]:
    """How many units are on for which share of the rows: `BINS` bins of equal width from 0 to 1,
    the units that are never and always on apart.
    """
    share = activation.active_count / max(activation.rows, 1)
    never, always = (int(np.count_nonzero(share == end)) for end in (0, 1))
    counts, _ = np.histogram(share[(share > 0) & (share < 1)], bins=BINS, range=(0, 1))
    return {"never": never, "always": always, "bins": counts.tolist()}


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of the places 0 … count - 1, evenly, the first and the last among them."""
    if wanted >= count:
        return list(range(count))
    return [int(place) for place in np.unique(np.linspace(0, count - 1, max(wanted, 2)).round())]

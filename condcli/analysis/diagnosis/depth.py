"""Gradients and activations that vanish or explode with depth (§4 of the paper, Theorem 4.1).

In a chain of layers that each scale by α, λ_max moves by log10 α² decades a layer. A line is fitted
to log10 λ_max over the layers' order, by Theil & Sen's median of the slopes of all pairs: layers of
another scale here and there do not move it. A trend is one that both halves of the network show; a
step between two levels, as one badly scaled layer makes, or a slope that ends in a plateau is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from condcli.analysis.diagnosis.finding import Finding
from condcli.analysis.diagnosis.network import Layer, Network
from condcli.analysis.diagnosis.thresholds import Thresholds, graded
from condcli.stats import FloatArray

FEWEST_LAYERS = 4
_MOST_LAYERS = 1000  # of more, so many evenly spaced ones are looked at
_SHARE = 0.25  # of the whole slope that each half must have
_SCALED = "With a gain other than 1 per layer, both passes grow or shrink exponentially with depth."
_REMEDY = (
    "Use an initialisation that keeps the scale (He for ReLU, Xavier for tanh), or a normalisation "
    "after each linear map, or residual connections."
)


def depth_trends(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding each for Σ_∇h and for Σ_x whose λ_max moves by too many decades over the depth."""
    layers = [layer for layer in network.layers if layer.kind != "embedding"]
    backward = [(layer, layer.gradient_size) for layer in reversed(layers)]
    forward = [(layer, layer.lambda_max_input) for layer in layers]
    yield from _trend("gradient", backward, thresholds)
    yield from _trend("activation", forward, thresholds)


def decades_over(values: Sequence[float]) -> float:
    """The decades that a line through the values moves by from first to last; 0 for no trend.

    Zeros, where a signal is lost or has underflowed, have no logarithm: the line is that of the
    others, over the whole length.
    """
    places, logs = _logarithms(np.asarray(values, dtype=np.float64))
    if len(logs) < FEWEST_LAYERS:
        return 0.0
    half = max(3, len(logs) // 2 + 1)
    slope = theil_sen(places, logs)
    halves = (theil_sen(places[part], logs[part]) for part in (slice(half), slice(-half, None)))
    if slope == 0 or min(each / slope for each in halves) < _SHARE:
        return 0.0
    return slope * (len(values) - 1)


def theil_sen(places: FloatArray, values: FloatArray) -> float:
    """The median slope over all pairs of values at ascending places."""
    i, j = np.triu_indices(len(values), k=1)
    return float(np.median((values[j] - values[i]) / (places[j] - places[i])))


def _logarithms(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where the values are above zero, and log10 of them; of very many, some evenly spaced."""
    places = np.flatnonzero(values > 0)
    if len(places) > _MOST_LAYERS:
        places = places[np.linspace(0, len(places) - 1, _MOST_LAYERS).round().astype(int)]
    return places.astype(np.float64), np.log10(values[places])


def _trend(
    what: str, seen: Sequence[tuple[Layer, float | None]], thresholds: Thresholds
) -> Iterator[Finding]:
    """`seen` goes the way that the signal goes: the gradient's from the last layer to the first."""
    known = [(layer, value) for layer, value in seen if value is not None and layer.rows]
    decades = decades_over([value for _, value in known])
    severity = graded(
        abs(decades),
        warning=thresholds.depth_decades_warning,
        error=thresholds.depth_decades_error,
    )
    if severity is None:
        return
    (first, start), (last, end) = known[0], known[-1]
    sign, moment = ("Σ∇h", "T·λ") if what == "gradient" else ("Σx", "λ")
    layers = [layer.name for layer, _ in known]
    verb, rule = ("vanish", "vanishing") if decades < 0 else ("explode", "exploding")
    yield Finding(
        rule=f"{rule}-{what}",
        severity=severity,
        layers=tuple(reversed(layers) if what == "gradient" else layers),
        title=f"{what}s {verb} with depth",
        evidence=(
            f"{moment}({sign}) goes from {start:.2g} at {first.name} to {end:.2g} at {last.name}: "
            f"a line of {decades:+.1f} decades over {len(known)} layers, "
            f"{decades / (len(known) - 1):+.2g} a layer"
        ),
        numbers={
            "decades": decades,
            "decades_per_layer": decades / (len(known) - 1),
            "first": start,
            "last": end,
        },
        mechanism=_SCALED,
        source="paper §4, Theorem 4.1 and Figure 3",
        remedy=_REMEDY,
    )

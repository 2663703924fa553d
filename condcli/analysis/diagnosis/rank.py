"""Representations that collapse: to one point, or to a line."""

from __future__ import annotations

from collections.abc import Iterator

from condcli.analysis.diagnosis.finding import Finding, Severity, brief
from condcli.analysis.diagnosis.network import Layer, Network
from condcli.analysis.diagnosis.thresholds import Thresholds

_FEWEST_ROWS = 32
_FEWEST_UNITS = 16
_FEWEST_OUTPUTS = 4  # a network of fewer outputs needs no more directions


def collapsed(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for layers that see nearly the same input on every row, one for a single line.

    The first layer's input are the data, and is left to other rules.
    """
    layers = [
        layer
        for layer in network.maps[1:]
        if layer.features and layer.features.mean_square and layer.input_rows >= _FEWEST_ROWS
    ]
    points = [layer for layer in layers if _varying(layer) < thresholds.collapse]
    if points:
        yield _to_a_point(points, len(layers))
    many = bool(network.maps) and network.maps[-1].d_out >= _FEWEST_OUTPUTS
    lines = [
        layer
        for layer in layers
        if many and layer not in points and layer.d_in >= _FEWEST_UNITS
        if _directions(layer) is not None and (_directions(layer) or 0) < thresholds.directions
    ]
    if lines:
        yield _to_a_line(lines, len(layers))


def _varying(layer: Layer) -> float:
    """The share of the squared input that is not the mean's."""
    return 1 - layer.features.mean_share if layer.features else 1.0


def _directions(layer: Layer) -> float | None:
    return layer.features.directions if layer.features else None


def _to_a_point(layers: list[Layer], of: int) -> Finding:
    worst = min(layers, key=_varying)
    severity: Severity = "error" if 2 * len(layers) >= of else "warning"
    return Finding(
        rule="rank-collapse",
        severity=severity,
        layers=tuple(layer.name for layer in layers),
        title=f"{len(layers)} of {of} layers see nearly the same input on every row",
        evidence=f"least in {brief(worst.name)}: {_varying(worst):.2g} of its squared input varies",
        numbers={"varying_share": _varying(worst), "layers": len(layers), "of": of},
        mechanism="Every layer brings different inputs nearer to each other; what is left is a "
        "constant, and Σx is m mᵀ: nothing tells the examples apart.",
        source="Schoenholz et al., Deep Information Propagation, ICLR 2017; paper §4",
        remedy="Normalise after each linear map, add residual connections, or initialise nearer "
        "to the edge of chaos (He for ReLU, biases of zero).",
    )


def _to_a_line(layers: list[Layer], of: int) -> Finding:
    worst = min(layers, key=lambda layer: _directions(layer) or 0.0)
    return Finding(
        rule="rank-collapse-line",
        severity="warning",
        layers=tuple(layer.name for layer in layers),
        title=f"{len(layers)} of {of} layers see inputs that vary in one direction only",
        evidence=f"least in {brief(worst.name)}: {_directions(worst):.2g} of {worst.d_in}",
        numbers={"directions": _directions(worst) or 0.0, "layers": len(layers), "of": of},
        mechanism="With a covariance of rank one, all units of the layer learn the same.",
        source="Dong, Cordonnier & Loukas, Attention is not all you need, ICML 2021",
        remedy="Normalise before these layers, keep the residual connections, lower the rate.",
    )

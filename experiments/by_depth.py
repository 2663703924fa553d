"""What a recorded step tells of each linear layer and each activation, from first to last."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import condcli

PERCENT = 50.0  # κ_p, p = 0.5
LAYER = {
    "lambda_max_input": "λ_max(Σ_x)",
    "lambda_max_grad": "λ_max(Σ_∇h)",
    "lambda_max": "λ_max(F)",
    "sigma_max_weight": "σ_max(W)",
    "sigma_max_grad": "σ_max(∂L/∂W)",
    "ratio": "σ(∂W) / σ(W)",
}
KAPPA = {
    "kappa_input": "κ_50%(Σ_x)",
    "kappa_grad": "κ_50%(Σ_∇h)",
    "kappa": "κ_50%(F)",
}
NEURONS = {"dying_share": "dying neurons", "full_share": "full neurons"}
TITLES = {**LAYER, **KAPPA, **NEURONS}

Depths = Mapping[str, Sequence[float]]  # each of the TITLES, a number a layer


def recorded(stats: Path) -> dict[int, dict[str, list[float]]]:
    """By step, of all files of a run: each of the TITLES, from the first layer to the last.

    Where κ_p is under the noise floor, it is the bound; NaN is what is not known.
    """
    points = condcli.trajectory([stats], percent=PERCENT)
    return {point.step: by_depth(point) for point in points}


def by_depth(point: Any) -> dict[str, list[float]]:
    """One point of `condcli.trajectory`."""
    layers, activations = point.layers.values(), point.activations.values()
    return {
        **{name: [_known(getattr(layer, name)) for layer in layers] for name in LAYER},
        **{name: [_known(getattr(layer, name).least) for layer in layers] for name in KAPPA},
        **{name: [_known(getattr(each, name)) for each in activations] for name in NEURONS},
    }


def decades(values: Sequence[float]) -> float:
    """Between the largest and the smallest."""
    return math.log10(max(values) / min(values)) if min(values) > 0 else math.inf


def rise(values: Sequence[float]) -> float:
    """Decades by which the first layer's is above the last's."""
    return math.log10(values[0] / values[-1]) if values[0] > 0 else -math.inf


def _known(value: float | None) -> float:
    return math.nan if value is None else float(value)

"""Trajectories with known answers, made without files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from condcli.analysis.condition import ConditionNumber
from condcli.analysis.neurons import NeuronRow
from condcli.analysis.trajectory import LayerPoint, Point
from condcli.stats import ProbeStats
from tests.synthetic import activation, diagonal, layer, provenance, stats

Curves = Mapping[str, Sequence[Any]]  # by metric, a value a step


def kappa(value: float | None) -> ConditionNumber:
    return ConditionNumber(value=value, lower_bound=None, rank=2, size=2)


def layer_point(**values: Any) -> LayerPoint:
    """One layer at one step, all numbers 1 unless told; condition numbers by their values."""
    names = {item.name for item in fields(LayerPoint)} - {"kind", "d_in", "d_out"}
    numbers: dict[str, Any] = dict.fromkeys(names, 1.0) | values
    kappas = {
        name: kappa(numbers[name]) if not isinstance(numbers[name], ConditionNumber) else value
        for name, value in numbers.items()
        if name.startswith("kappa")
    }
    return LayerPoint(kind="linear", d_in=2, d_out=2, **(numbers | kappas))


def neuron_row(name: str, **shares: float | None) -> NeuronRow:
    values: dict[str, Any] = {"dying": 0, "full": 0, "dying_share": 0.0, "full_share": 0.0}
    values |= {f"{key}_share": value for key, value in shares.items()}
    return NeuronRow(
        activation=name,
        function="relu",
        units=100,
        rows=1000,
        activity=(),
        **{"saturated_share": None, **values},
    )


def points(
    steps: Sequence[int],
    layers: Mapping[str, Curves] | None = None,
    activations: Mapping[str, Curves] | None = None,
    loss: Sequence[float | None] = (),
) -> list[Point]:
    """A run with these curves; what is not named stays the same."""

    def at(curves: Curves, place: int) -> dict[str, Any]:
        return {metric: values[place] for metric, values in curves.items()}

    return [
        Point(
            path=Path(f"step_{step:08}.h5"),
            step=step,
            step_from="file",
            provenance=provenance(step=step),
            loss=loss[place] if loss else 1.0,
            accuracy=0.5,
            layers={n: layer_point(**at(c, place)) for n, c in (layers or {}).items()},
            activations={n: neuron_row(n, **at(c, place)) for n, c in (activations or {}).items()},
        )
        for place, step in enumerate(steps)
    ]


def stats_at(step: int) -> ProbeStats:
    """The statistics of step 0, 100, … 700 of a run in which fc2 gets dominated at step 500.

    Its weight is eight times as large from step 300 on, its gradient falls by 100 at step 500.
    """
    place = step // 100
    weight, grad = (16.0 if place >= 3 else 2.0), 2e-2 * (1e-2 if place >= 5 else 1)
    moving = layer(
        "fc2",
        order=1,
        weight_singular_values=np.array([weight, 1.0]),
        weight_grad_singular_values=np.array([grad, grad / 2]),
        weight_norm=weight,
        weight_grad_norm=grad,
    )
    falling = diagonal(*(0.5 * 10.0 ** (-place / 2) * np.array([1, 0.2])))
    return stats(
        layer("fc1", grad_moment=falling),
        moving,
        activations=(
            activation("relu", active_count=np.array([0 if place >= 6 else 9, 50, 7, 8])),
        ),
        step=step,
        loss=2.3 * 0.7**place,
        accuracy=1 - 0.9 * 0.7**place,
    )

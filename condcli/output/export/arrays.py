"""A run as NumPy arrays: one a number, steps down and names across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from condcli.analysis.metrics import METRICS, is_lower_bound, series
from condcli.analysis.trajectory import Point
from condcli.output.escaping import escaped
from condcli.statsfile import replacing

_OWNERS = {"layers": "ratio", "activations": "dying"}  # a metric of each


def to_npz(points: Sequence[Point], output: Path, *, force: bool) -> Path:
    """Write ``steps``, ``layers``, ``activations``, and an array a metric; NaN where not known.

    An array is (steps,), (steps, layers) or (steps, activations); those of condition numbers have
    one beside them, ``…_is_lower_bound``.
    """
    with replacing(output, force=force) as file:
        np.savez(file, **arrays_of(points))
    return output


def arrays_of(points: Sequence[Point]) -> Mapping[str, Any]:
    """The arrays by their names."""
    arrays: dict[str, Any] = {"steps": np.array([point.step for point in points], dtype=np.int64)}
    for owner, metric in _OWNERS.items():
        arrays[owner] = np.array([escaped(name) for name in series(points, metric)], dtype=np.str_)
    for name, metric_ in METRICS.items():
        curves = list(series(points, name).values())
        table = np.array(curves, dtype=np.float64).reshape(len(curves), len(points)).T
        arrays[name] = table[:, 0] if metric_.owner == "network" else table
        if name.startswith("kappa"):
            names = list(series(points, name))
            bounds = [_bounds(point, names, name) for point in points]
            arrays[f"{name}_is_lower_bound"] = np.array(bounds, dtype=np.bool_)
    return arrays


def _bounds(point: Point, names: Sequence[str], metric: str) -> list[bool]:
    layers = point.layers
    return [name in layers and is_lower_bound(layers[name], metric) for name in names]

"""What is said of a run above its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from condcli.analysis.metrics import METRICS, series
from condcli.analysis.trajectory import Point
from condcli.analysis.turning_groups import told
from condcli.analysis.turning_points import TurningPoint
from condcli.output.cells import text
from condcli.output.sparkline import curve

_WIDTH = 24  # blocks of a curve
_COUNTED = ("dying", "full")


def run_facts(points: Sequence[Point], found: Sequence[TurningPoint]) -> Mapping[str, str]:
    """The steps, the course of the loss, accuracy and dead neurons, and what turned when."""
    steps = [point.step for point in points]
    many = f"s {steps[0]} to {steps[-1]}" if len(steps) > 1 else f" {steps[0]}"
    facts = {"files": f"{len(points)}, step{many}"}
    facts["loss"] = _course([point.loss for point in points])
    accuracies = [point.accuracy for point in points]
    if any(accuracy is not None for accuracy in accuracies):
        percents = [None if each is None else 100 * each for each in accuracies]
        facts["accuracy"] = f"{_course(percents)} %"
    for name in _COUNTED:
        if course := _counts(points, name):
            facts[METRICS[name].words] = course
    return {**facts, **told(found, steps, names_of(points))}


def names_of(points: Sequence[Point]) -> list[str]:
    """The network, its layers and its activations, each in forward order."""
    return [name for metric in ("loss", "ratio", "dying") for name in series(points, metric)]


def _course(values: Sequence[float | None]) -> str:
    ends = [text(value) for value in (values[0], values[-1])]
    return f"{ends[0]} {curve(values, _WIDTH)} {ends[1]}"


def _counts(points: Sequence[Point], name: str) -> str:
    """Of all activations together; nothing where the network has none that could."""
    rows = [
        [row for row in point.activations.values() if getattr(row, name) is not None]
        for point in points
    ]
    if not any(rows):
        return ""
    counts = [sum(getattr(row, name) for row in each) for each in rows]
    return f"{_course(counts)} of {sum(row.units for row in rows[-1])}"

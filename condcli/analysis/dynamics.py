"""How the numbers of a run move over its steps: rows for tables and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from condcli.analysis.condition import ConditionNumber
from condcli.analysis.metrics import METRICS, series
from condcli.analysis.trajectory import LayerPoint, Point
from condcli.errors import UsageError

Curve = tuple[float | None, ...]  # a value a step


def _curve(title: str, drop: int, form: str = "curve") -> dict[str, Any]:
    return {"title": title, "format": form, "drop": drop, "shown_in": ("table",)}


def _end(title: str, drop: int) -> dict[str, Any]:
    return {"title": title, "drop": drop}


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicsRow:
    """One layer: its curves over the steps, and where they begin and end."""

    layer: str = field(metadata={"title": "layer"})
    kind: str = field(metadata={"title": "kind", "drop": 9})
    lambda_max_input_curve: Curve = field(metadata=_curve("λ(Σx)", 4))
    lambda_max_input_first: float | None = field(metadata=_end("first", 7))
    lambda_max_input_last: float | None = field(metadata=_end("last", 4))
    lambda_max_grad_curve: Curve = field(metadata=_curve("λ(Σ∇h)", 1))
    lambda_max_grad_first: float | None = field(metadata=_end("first", 7))
    lambda_max_grad_last: float | None = field(metadata=_end("last", 1))
    kappa_curve: Curve = field(metadata=_curve("κ(F)", 2))
    kappa_first: ConditionNumber = field(metadata=_end("first", 8))
    kappa_last: ConditionNumber = field(metadata=_end("last", 2))
    ratio_curve: Curve = field(metadata=_curve("ratio", 1))
    ratio_first: float | None = field(metadata=_end("first", 6))
    ratio_last: float | None = field(metadata=_end("last", 1))
    weight_norm_curve: Curve = field(metadata=_curve("‖W‖F", 3))
    weight_norm_first: float | None = field(metadata=_end("first", 5))
    weight_norm_last: float | None = field(metadata=_end("last", 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One number of one layer, of one activation or of the network."""

    name: str = field(metadata={"title": "name"})
    metric: str = field(metadata={"title": "metric", "shown_in": ("machine",)})
    curve: Curve = field(metadata=_curve("over the steps", 0, "wide curve"))
    first: float | None = field(metadata={"title": "first"})
    last: float | None = field(metadata={"title": "last"})
    # last over first; None unless both are above zero
    change: float | None = field(metadata={"title": "change"})
    least: float | None = field(metadata={"title": "least", "drop": 1})
    least_step: int | None = field(metadata={"title": "at", "drop": 1})
    most: float | None = field(metadata={"title": "most", "drop": 2})
    most_step: int | None = field(metadata={"title": "at", "drop": 2})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One layer at one step."""

    step: int = field(metadata={"title": "step"})
    layer: str = field(metadata={"title": "layer"})
    loss: float | None = field(metadata={"title": "loss", "drop": 3})
    accuracy: float | None = field(metadata={"title": "accuracy", "format": "percent", "drop": 5})
    lambda_max_input: float | None = field(metadata={"title": "λ(Σx)"})
    lambda_max_grad: float | None = field(metadata={"title": "λ(Σ∇h)"})
    lambda_max: float | None = field(metadata={"title": "λ(F)", "drop": 4})
    kappa_input: ConditionNumber = field(metadata={"title": "κ(Σx)", "drop": 4})
    kappa_grad: ConditionNumber = field(metadata={"title": "κ(Σ∇h)", "drop": 4})
    kappa: ConditionNumber = field(metadata={"title": "κ(F)", "drop": 2})
    ratio: float | None = field(metadata={"title": "ratio"})
    sigma_max_weight: float | None = field(metadata={"title": "σ(W)", "drop": 6})
    sigma_max_grad: float | None = field(metadata={"title": "σ(∂W)", "drop": 6})
    weight_norm: float | None = field(metadata={"title": "‖W‖F", "drop": 1})
    weight_grad_norm: float | None = field(metadata={"title": "‖∂W‖F", "drop": 6})
    grad_moment_lambda_max: float | None = field(metadata={"title": "λ(Σ∂W)", "drop": 6})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetricRow:
    """One number of one layer, of one activation or of the network at one step."""

    step: int = field(metadata={"title": "step"})
    name: str = field(metadata={"title": "name"})
    metric: str = field(metadata={"title": "metric"})
    value: float | None = field(metadata={"title": "value"})


def dynamics(points: Sequence[Point], *, pattern: str | None = None) -> list[DynamicsRow]:
    """One row a layer whose name matches the glob, in forward order, of one point or more.

    The ends are those of the steps that have the layer. Raises `UsageError` where no name matches.
    """
    names = selected(series(points, "ratio"), pattern)
    return [_row(name, [point.layers.get(name) for point in points]) for name in names]


def metric_rows(
    points: Sequence[Point], metric: str, *, pattern: str | None = None
) -> list[MetricRow]:
    """One row for each layer or activation that has this metric, or one for the network."""
    curves = series(points, metric)
    steps = [point.step for point in points]
    return [_metric_row(name, metric, curves[name], steps) for name in selected(curves, pattern)]


def step_rows(points: Sequence[Point], *, pattern: str | None = None) -> list[StepRow]:
    """One row for each step and layer, by step and then in forward order."""
    names = selected(series(points, "ratio"), pattern)
    return [
        StepRow(
            step=point.step,
            layer=name,
            loss=point.loss,
            accuracy=point.accuracy,
            **{key: getattr(point.layers[name], key) for key in _OF_LAYER},
        )
        for point in points
        for name in names
        if name in point.layers
    ]


def step_metric_rows(
    points: Sequence[Point], metric: str, *, pattern: str | None = None
) -> list[StepMetricRow]:
    """One row for each step and each layer or activation that has this metric."""
    curves = series(points, metric)
    return [
        StepMetricRow(step=point.step, name=name, metric=metric, value=curves[name][place])
        for place, point in enumerate(points)
        for name in selected(curves, pattern)
    ]


def selected(names: Mapping[str, Any], pattern: str | None) -> list[str]:
    """The names that match a glob, all without one.

    Raises `UsageError` where there are names, and none matches.
    """
    found = [name for name in names if pattern is None or fnmatchcase(name, pattern)]
    if pattern is not None and not found:
        known = ", ".join(list(names)[:5]) or "none"
        raise UsageError(f"no name matches {pattern!r}", f"the names are {known} …")
    return found


_OF_LAYER = tuple(name for name, metric in METRICS.items() if metric.owner == "layer")


def _row(name: str, found: Sequence[LayerPoint | None]) -> DynamicsRow:
    there = [point for point in found if point is not None]
    first, last = there[0], there[-1]
    curves: dict[str, Any] = {
        f"{metric}_curve": tuple(
            None if point is None else METRICS[metric].read(point) for point in found
        )
        for metric in _SHOWN
    }
    firsts = {f"{metric}_first": getattr(first, metric) for metric in _SHOWN}
    lasts = {f"{metric}_last": getattr(last, metric) for metric in _SHOWN}
    return DynamicsRow(layer=name, kind=first.kind, **curves, **firsts, **lasts)


_SHOWN = ("lambda_max_input", "lambda_max_grad", "kappa", "ratio", "weight_norm")


def _metric_row(
    name: str, metric: str, values: Sequence[float | None], steps: Sequence[int]
) -> MetricRow:
    known = {step: value for step, value in zip(steps, values, strict=True) if value is not None}
    first, last = values[0], values[-1]
    least, most = (choose(known, key=known.__getitem__, default=None) for choose in (min, max))
    return MetricRow(
        name=name,
        metric=metric,
        curve=tuple(values),
        first=first,
        last=last,
        change=last / first if first and last and first > 0 < last else None,
        least=None if least is None else known[least],
        least_step=least,
        most=None if most is None else known[most],
        most_step=most,
    )

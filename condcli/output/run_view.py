"""One way to look at a run: which rows, of which layers and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from condcli.analysis.dynamics import (
    DynamicsRow,
    MetricRow,
    StepMetricRow,
    StepRow,
    dynamics,
    metric_rows,
    selected,
    step_metric_rows,
    step_rows,
)
from condcli.analysis.trajectory import Point
from condcli.analysis.turning_points import TurningPoint, turning_points
from condcli.output.report import Report
from condcli.output.run_facts import names_of, run_facts

LEGEND = {
    "∞": "singular: the rows and units seen do not allow the rank that this κ asks for",
    ">": "a lower bound: the eigenvalue is under the noise floor",
    "–": "not known: not measured, not finite, or undefined",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What is to be shown of a run."""

    file: Path | None  # its folder, where it is in one
    metric: str | None = None  # only this number
    pattern: str | None = None  # only layers or activations whose name matches this glob
    threshold: float  # weight domination is below it
    steps: bool = False  # a row for each step and layer
    turning_points: bool = False  # a row for each turning point

    def report(self, points: Sequence[Point]) -> Report:
        """The run as rows, with what is said above them."""
        metrics = None if self.metric is None else [self.metric]
        every = turning_points(points, metrics=metrics, threshold=self.threshold)
        wanted = set(selected(dict.fromkeys(names_of(points)), self.pattern))
        found = [each for each in every if each.name in wanted]
        row_type, rows = self._rows(points, found)
        return Report(
            command="dynamics",
            file=self.file,
            row_type=row_type,
            rows=rows,
            provenance=points[-1].provenance,
            facts=run_facts(points, [] if self.turning_points else found),
            legend=LEGEND,
        )

    def block(self, points: Sequence[Point], new: Point) -> Report:
        """What one file has added, without what is said of the run."""
        report = replace(self, steps=not self.turning_points).report(points)
        rows = [row for row in report.rows if row.step == new.step]
        return replace(report, rows=rows, facts={}, provenance=new.provenance)

    def _rows(
        self, points: Sequence[Point], found: Sequence[TurningPoint]
    ) -> tuple[type[Any], Sequence[Any]]:
        if self.turning_points:
            return TurningPoint, found
        if self.metric is None and self.steps:
            return StepRow, step_rows(points, pattern=self.pattern)
        if self.metric is None:
            return DynamicsRow, dynamics(points, pattern=self.pattern)
        if self.steps:
            return StepMetricRow, step_metric_rows(points, self.metric, pattern=self.pattern)
        return MetricRow, metric_rows(points, self.metric, pattern=self.pattern)

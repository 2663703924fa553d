"""A row type with every kind of column, and a report of two rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from condcli.analysis.condition import ConditionNumber
from condcli.analysis.spectrum import Kappas, Profile
from condcli.output.report import Report


def kappa(value: float | None = None, lower_bound: float | None = None) -> ConditionNumber:
    return ConditionNumber(value=value, lower_bound=lower_bound, rank=3, size=4)


@dataclass(frozen=True, kw_only=True)
class Row:
    layer: str = field(default="fc", metadata={"title": "layer"})
    units: int = field(default=10, metadata={"title": "units", "drop": 1})
    loss: float | None = field(default=0.5, metadata={"title": "loss"})
    kappa: Kappas = field(
        default_factory=lambda: {"100": kappa(lower_bound=42e5), "50": kappa(12.0)},
        metadata={"title": "κ{}", "drop": 2, "drop_step": 3},
    )
    dying: int | None = field(default=2, metadata={"title": "dying"})
    dying_share: float | None = field(
        default=0.2, metadata={"title": "of units", "format": "percent"}
    )
    dominated: bool = field(default=False, metadata={"title": "verdict", "format": "stuck|free"})
    extra: float | None = field(default=None, metadata={"title": "extra", "optional": True})
    shape: Profile = field(
        default=(0.0, None),
        metadata={"title": "shape", "format": "sparkline", "shown_in": ("table",)},
    )
    note: str = field(default="", metadata={"title": "note", "shown_in": ("machine",)})


def report(*rows: Row, **changes: Any) -> Report:
    values: dict[str, Any] = {
        "command": "test",
        "file": Path("stats.h5"),
        "row_type": Row,
        "rows": rows,
        "keys": list(rows[0].kappa) if rows else ["100", "50"],
        "legend": {">": "a lower bound", "–": "no value"},
    }
    return Report(**values | changes)

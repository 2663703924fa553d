"""The rows of an analysis, column by column, as the page's tables show them."""

from __future__ import annotations

import math
from typing import Any

from condcli.analysis.condition import ConditionNumber
from condcli.analysis.eigenvalues import Rank
from condcli.output.cells import text
from condcli.output.columns import Column, columns_of
from condcli.output.page.curves import rounded
from condcli.output.report import Report

Cell = str | float | bool | None
Columns = dict[str, list[Cell]]


def headings(report: Report) -> list[dict[str, str]]:
    """Name, title, kind and format of every column but drawings; a column that only counts has the
    format "whole".
    """
    return [
        {
            "name": column.name,
            "title": column.title,
            "kind": column.kind,
            "format": "whole" if _counts(column, report) else column.format,
        }
        for column in _columns(report)
    ]


def values(report: Report) -> Columns:
    """The values of every column but the first, which names the layer or activation, by column:
    numbers, texts, yes or no, or null for no value.

    A condition number that is only bounded or infinite, and a rank, are texts, as in the terminal.
    """
    return {
        column.name: [_cell(column.value(row)) for row in report.rows]
        for column in _columns(report)[1:]
    }


def changed(columns: Columns, first: Columns) -> Columns:
    """The columns that differ from the first step's: most of what is not a number stays."""
    return {name: cells for name, cells in columns.items() if cells != first.get(name)}


def _columns(report: Report) -> list[Column]:
    return [c for c in columns_of(report, shown_in="machine") if c.kind != "drawing"]


def _counts(column: Column, report: Report) -> bool:
    values = [column.value(row) for row in report.rows]
    return not column.format and all(type(value) in (int, type(None)) for value in values)


def _cell(value: Any) -> Cell:
    if isinstance(value, ConditionNumber):
        return _condition(value)
    if isinstance(value, Rank | str):
        return text(value)
    return value if value is None or isinstance(value, bool | int) else rounded(value)


def _condition(kappa: ConditionNumber) -> Cell:
    if kappa.value is None and kappa.lower_bound is None:
        return None
    exact = kappa.value is not None and math.isfinite(kappa.value)
    return rounded(kappa.value) if exact else text(kappa)

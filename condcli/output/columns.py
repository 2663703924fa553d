"""The columns that a row dataclass describes through its fields' metadata.

`title` is the heading, else the field's name; `format` is how a value is written; `drop` is how
soon a narrow table omits the column (0, the default: never); `optional` columns are left out of
tables when no row has a value; `whole` texts are never cut; `shown_in` narrows a column to
("table",), Markdown too, or ("machine",), JSON and CSV. A field that holds a mapping becomes one
column a key, NAME_KEY, with the key put into its title; `drop_step` is how much sooner each is
omitted than the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields
from typing import Any, Literal

from condcli.errors import UsageError
from condcli.output.cells import magnitude
from condcli.output.report import Report

Kind = Literal["text", "flag", "number", "drawing"]
_KINDS: dict[str, Kind] = {
    "str": "text",
    "str | None": "text",
    "bool": "flag",
    "bool | None": "flag",
    "Profile": "drawing",
    "Severity": "text",
    "Layers": "text",
    "Numbers": "text",
    "Curve": "drawing",
    "Activity": "drawing",
    "Bar": "drawing",
}
_MAPPINGS = ("Kappas",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column, and how to get its value from a row."""

    name: str
    field: str
    key: str | None  # into the field's value, when that is a mapping
    kind: Kind
    title: str
    format: str
    drop: int
    optional: bool
    whole: bool
    shown_in: tuple[str, ...]

    def value(self, row: Any) -> Any:
        """The row's value in this column."""
        value = getattr(row, self.field)
        return value if self.key is None else value[self.key]


def columns_of(report: Report, *, shown_in: str) -> list[Column]:
    """The columns of a report, rows or none, in the fields' order, for "table" or "machine"."""
    columns = []
    for item in fields(report.row_type):
        keys = report.keys if str(item.type) in _MAPPINGS else [None]
        columns += [_column(item, key, len(keys) - 1 - i) for i, key in enumerate(keys)]
    return [column for column in columns if shown_in in column.shown_in]


def table_columns(report: Report) -> list[Column]:
    """Those for tables: optional ones only where a row has a value."""
    return [
        column
        for column in columns_of(report, shown_in="table")
        if not (column.optional and all(column.value(row) is None for row in report.rows))
    ]


def column_named(name: str, columns: Sequence[Column]) -> Column:
    """The column of this name; a mapping's own name stands for its first column.

    Raises `UsageError` that lists the names.
    """
    for column in columns:
        if name in (column.name, column.field):
            return column
    known = ", ".join(column.name for column in columns)
    raise UsageError(f"there is no column {name!r} here", f"choose from {known}")


def sorted_by(report: Report, name: str) -> list[Any]:
    """The rows by one column: numbers from the largest, texts from A, no value last."""
    column = column_named(name, columns_of(report, shown_in="machine"))
    if column.kind == "text":
        return sorted(report.rows, key=lambda row: column.value(row) or "")

    def descending(row: Any) -> float:
        size = magnitude(column.value(row))
        return float("inf") if size is None else -size

    return sorted(report.rows, key=descending)


def _column(item: Field[Any], key: str | None, keys_after: int) -> Column:
    return Column(
        name=item.name if key is None else f"{item.name}_{key}",
        field=item.name,
        key=key,
        kind=_KINDS.get(str(item.type), "number"),
        title=item.metadata.get("title", item.name).format(key or ""),
        format=item.metadata.get("format", ""),
        drop=item.metadata.get("drop", 0) + keys_after * item.metadata.get("drop_step", 0),
        optional=item.metadata.get("optional", False),
        whole=item.metadata.get("whole", False),
        shown_in=item.metadata.get("shown_in", ("table", "machine")),
    )

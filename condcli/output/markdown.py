"""A Markdown table, as GitHub shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from condcli.output.cells import text
from condcli.output.columns import table_columns
from condcli.output.escaping import escaped
from condcli.output.headline import headline
from condcli.output.notes import notes
from condcli.output.report import Report


def to_markdown(report: Report) -> str:
    """The headline, the facts, every column that a table can have, and the notes."""
    columns = table_columns(report)
    cells = [[text(c.value(row), c.format) for c in columns] for row in report.rows]
    numbers = [
        text(c.value(row), c.format)
        for row in report.rows
        for c in columns
        if c.kind in ("flag", "number")
    ]
    lines = []
    if report.provenance is not None:
        lines += [_safe(headline(report.provenance)), ""]
    if report.facts:
        lines += [*_items(report.facts), ""]
    lines.append(_line(column.title for column in columns))
    lines.append(
        "|" + "|".join(":--" if c.kind in ("text", "drawing") else "--:" for c in columns) + "|"
    )
    lines += [_line(row) for row in cells]
    remarks = notes(report.legend, numbers)
    lines += ["", *_items(remarks)] if remarks else []
    return "\n".join(lines) + "\n"


def _items(pairs: Mapping[str, str]) -> list[str]:
    return [f"- {_safe(escaped(name))}: {_safe(escaped(what))}" for name, what in pairs.items()]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(_safe, cells)) + " |"


def _safe(text: str) -> str:
    """The text with the characters that Markdown would act on escaped."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", text)

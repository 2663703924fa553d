"""JSON and CSV: every column, full precision, stable names."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, fields
from io import StringIO
from typing import Any

import condcli
from condcli.output.cells import flat, plain
from condcli.output.columns import columns_of
from condcli.output.report import Report


def to_json(report: Report) -> str:
    """One object: condcli's version, file, command, provenance, facts, and the rows.

    ASCII only, so that no name can hold anything a terminal would act on. Infinity and NaN are
    null; a condition number is an object with value, lower_bound, rank, size and whether it
    is infinite.
    """
    document = {
        "condcli": condcli.__version__,
        "file": None if report.file is None else str(report.file),
        "command": report.command,
        "provenance": report.provenance and plain(asdict(report.provenance)),
        "facts": dict(report.facts),
        "rows": [_object(row) for row in report.rows],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def to_csv(report: Report) -> str:
    """A header line and one line a row; nothing between commas stands for no value."""
    columns = columns_of(report, shown_in="machine")
    lines = []
    for row in report.rows:
        line: dict[str, Any] = {}
        for column in columns:
            line |= flat(column.name, column.value(row))
        lines.append(line)
    header = list(lines[0]) if lines else [column.name for column in columns]
    target = StringIO()
    writer = csv.DictWriter(target, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return target.getvalue()


def _object(row: Any) -> dict[str, Any]:
    return {
        item.name: plain(getattr(row, item.name))
        for item in fields(row)
        if "machine" in item.metadata.get("shown_in", ("machine",))
    }

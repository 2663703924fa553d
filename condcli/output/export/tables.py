"""A run as one tidy table: a row for each step, name and number."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from io import TextIOWrapper
from pathlib import Path

from condcli import __version__
from condcli.analysis.metrics import Value, values
from condcli.analysis.trajectory import Point
from condcli.output.escaping import escaped
from condcli.output.export.library import library
from condcli.statsfile import replacing

COLUMNS = tuple(item.name for item in fields(Value))


def to_csv(points: Sequence[Point], output: Path, *, force: bool) -> Path:
    """Write the table as CSV: nothing between commas is a value not known, `inf` infinity."""
    with replacing(output, force=force) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_rows(points))
        text.detach()
    return output


def to_parquet(points: Sequence[Point], output: Path, *, force: bool) -> Path:
    """Write the table as Parquet, with pyarrow: null is a value not known."""
    pyarrow = library("pyarrow", extra="tables", form="Parquet")
    parquet = library("pyarrow.parquet", extra="tables", form="Parquet")
    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.utf8())
    kinds = [pyarrow.int64(), text, text, text, pyarrow.float64(), pyarrow.bool_()]
    columns = list(zip(*_rows(points), strict=True)) or [()] * len(COLUMNS)
    arrays = [pyarrow.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    schema = pyarrow.schema(zip(COLUMNS, kinds, strict=True), {"condcli": __version__})
    with replacing(output, force=force) as file:
        parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), file)
    return output


def _rows(points: Sequence[Point]) -> Iterator[tuple[object, ...]]:
    for value in values(points):
        step, owner, name, *rest = astuple(value)
        yield step, owner, escaped(name), *rest

"""A table for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from condcli.output.cells import text
from condcli.output.columns import table_columns
from condcli.output.escaping import escaped
from condcli.output.headline import headline
from condcli.output.layout import GAP, Cells, fitted
from condcli.output.notes import notes
from condcli.output.report import Report
from condcli.output.terminal import showable, width


def to_table(report: Report) -> str:
    """The headline, facts, rows and notes, no wider than the terminal."""
    console = Console(file=sys.stdout, width=width(), highlight=False, markup=False, emoji=False)
    columns = list(_columns(report))
    kept = fitted(columns, console.width)
    above = [] if report.provenance is None else [showable(headline(report.provenance))]
    with console.capture() as capture:
        for line in above:
            console.print(Text(line, style="bold"))
        if report.facts:
            console.print(_pairs(report.facts))
        if above or report.facts:
            console.print()
        body = _table(kept) if report.rows else Text("no rows")
        console.print(body, no_wrap=True, overflow="crop")
        remarks = _remarks(report, columns, kept)
        if remarks:
            console.print()
            console.print(_pairs(remarks), style="dim")
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _columns(report: Report) -> Iterator[Cells]:
    for column in table_columns(report):
        values = [column.value(row) for row in report.rows]
        yield Cells(
            title=showable(column.title),
            texts=[showable(text(value, column.format)) for value in values],
            drop=column.drop,
            cuttable=column.kind == "text" and not column.whole,
            left=column.kind in ("text", "drawing"),
        )


def _table(columns: list[Cells]) -> Text:
    """A line a row; Rich's own table, which can wrap, takes ten times as long."""
    header, *rows = zip(*map(_padded, columns), strict=True)
    text = Text((" " * GAP).join(header), style="bold")
    for row in rows:
        text.append("\n" + (" " * GAP).join(row), style="not bold")
    return text


def _padded(cells: Cells) -> list[str]:
    texts = [cells.title, *cells.texts]
    width = max(map(cell_len, texts))
    spaces = [" " * (width - cell_len(text)) for text in texts]
    return [t + s if cells.left else s + t for t, s in zip(texts, spaces, strict=True)]


def _pairs(pairs: Mapping[str, str]) -> Table:
    """Two columns, the second of which wraps."""
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_header=False)
    for name, meaning in pairs.items():
        table.add_row(Text(showable(escaped(name))), Text(showable(escaped(meaning))))
    return table


def _remarks(report: Report, columns: list[Cells], kept: list[Cells]) -> dict[str, str]:
    """What the signs in the table mean, and what did not fit."""
    legend = {showable(sign)[:1]: meaning for sign, meaning in report.legend.items()}
    remarks = notes(legend, [cell for cells in kept if not cells.left for cell in cells.texts])
    hidden = len(columns) - len(kept)
    if hidden:
        columns_hidden = "1 more column" if hidden == 1 else f"{hidden} more columns"
        remarks["+"] = f"{columns_hidden} in a wider terminal, or with --format json"
    return remarks

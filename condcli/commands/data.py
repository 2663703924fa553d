"""``condcli data list``: the data that ``--data`` knows by name."""

from __future__ import annotations

from dataclasses import dataclass, field

import typer

from condcli.commands import FormatOption, show

app = typer.Typer(help="The data that are known by name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRow:
    """A name or form that --data takes."""

    name: str = field(metadata={"whole": True})
    description: str
    splits: str  # the first is the default; empty where there is none


@app.command("list", epilog="condcli data list\n\ncondcli data list --format csv")
def list_data(form: FormatOption = "table") -> None:
    """List the names and forms that --data takes, and the splits that --split does."""
    from condcli.data.catalogue import KNOWN, known
    from condcli.output.report import Report

    splits = {name: ", ".join(entry.splits) for name, entry in KNOWN.items()}
    rows = [
        DataRow(name=name, description=text, splits=splits.get(name, ""))
        for name, text in known().items()
    ]
    show(Report(command="data list", row_type=DataRow, rows=rows), form)

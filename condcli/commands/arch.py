"""``condcli arch list``: the networks that ``--arch`` knows by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import typer

from condcli.commands import FormatOption, show

app = typer.Typer(help="The networks that are known by name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchRow:
    """A name or form that --arch takes."""

    name: str = field(metadata={"whole": True})
    description: str
    arguments: str = field(metadata={"whole": True, "drop": 1})  # of --arch-arg, with the defaults


@app.command("list", epilog="condcli arch list\n\ncondcli arch list --format csv")
def list_architectures(form: FormatOption = "table") -> None:
    """List the names and forms that --arch takes, and the arguments that --arch-arg does."""
    from condcli.output.report import Report

    show(Report(command="arch list", row_type=ArchRow, rows=list(_rows())), form)


def _rows() -> Iterator[ArchRow]:
    from condcli.names import ARCHITECTURE_FORMS, VISION_ARGUMENTS, ZOO, vision_papers

    for name, entry in ZOO.items():
        yield ArchRow(name=name, description=entry.description, arguments=entry.arguments)
    for name, paper in vision_papers().items():
        full_name = f"torchvision:{name}"
        yield ArchRow(name=full_name, description=paper, arguments=VISION_ARGUMENTS)
    for name, entry in ARCHITECTURE_FORMS.items():
        yield ArchRow(name=name, description=entry.description, arguments=entry.arguments)

"""``condcli inspect FILE``: what a checkpoint or a statistics file holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from condcli.commands import FormatOption, naming, show

if TYPE_CHECKING:
    from condcli.output.report import Report

EXAMPLES = """
condcli inspect model.pt

condcli inspect stats.h5 --format json
"""

AnyFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="Checkpoint, or statistics file of condcli probe.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Unpickle a whole module: this runs code from the file.")
]


def inspect(file: AnyFile, trust: Trust = False, form: FormatOption = "table") -> None:
    """Show what a file holds.

    Of a checkpoint: format, contents and the architecture that it matches. Of a statistics file:
    where it comes from, its layers, and that every checksum holds.
    """
    from condcli import statsfile

    report = _stats_report(file) if statsfile.is_hdf5(file) else _checkpoint_report(file, trust)
    show(report, form)


def _stats_report(file: Path) -> Report:
    from condcli import statsfile
    from condcli.analysis.contents import ContentRow, contents
    from condcli.output.report import Report

    stats = statsfile.read(file)
    with naming(file):
        rows = contents(stats)
    facts = {
        name.replace("_", " "): str(value)
        for name, value in asdict(stats.provenance).items()
        if value is not None
    }
    skipped = {
        f"skipped {item.name}": f"{item.kind}: {item.reason}" for item in stats.skipped.values()
    }
    return Report(
        command="inspect",
        file=file,
        row_type=ContentRow,
        rows=rows,
        facts=facts | skipped | {"integrity": "every checksum holds"},
    )


def _checkpoint_report(file: Path, trust: bool) -> Report:
    from condcli.models import TensorRow, describe
    from condcli.output.report import Report

    description = describe(file, trust=trust)
    return Report(
        command="inspect",
        file=file,
        row_type=TensorRow,
        rows=description.tensors,
        facts=description.facts,
    )

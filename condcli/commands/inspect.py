"""``condcli inspect FILE``: what a checkpoint or a statistics file holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from condcli.commands import FormatOption, naming, show

if TYPE_CHECKING:
    from condcli.models import Scaffold
    from condcli.output.report import Report

EXAMPLES = """
condcli inspect model.pt

condcli inspect model.pt --scaffold model.py

condcli inspect stats.h5 --format json
"""

AnyFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Checkpoint, file or folder, or statistics file of condcli probe.",
        readable=False,
    ),
]
Tensors = Annotated[
    bool, typer.Option("--tensors", help="List every tensor, with the spread of its values.")
]
ScaffoldFile = Annotated[
    Path | None,
    typer.Option(
        "--scaffold",
        metavar="FILE.py",
        help="Write the modules as Python, for --arch FILE.py:build.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file of --scaffold.")]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="KEY",
        help="Which weights of several in the file, such as model_ema.",
        show_default=False,
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Unpickle a whole module: this runs code from the file.")
]


def inspect(
    file: AnyFile,
    tensors: Tensors = False,
    scaffold: ScaffoldFile = None,
    force: Force = False,
    weights: Weights = None,
    trust: Trust = False,
    form: FormatOption = "table",
) -> None:
    """Show what a file holds.

    Of a checkpoint: format, contents, the architecture that it matches or is near to, and its tree
    of modules with a guess at each. Of a statistics file: where it comes from, its layers, and that
    every checksum holds.
    """
    from condcli import statsfile
    from condcli.errors import UsageError

    if not file.is_dir() and statsfile.is_hdf5(file):
        if scaffold is not None or tensors or weights is not None:
            raise UsageError(
                f"{file} is a statistics file, without weights", "inspect the checkpoint instead"
            )
        show(_stats_report(file), form)
    elif scaffold is not None:
        _write_scaffold(file, scaffold, force=force, trust=trust, weights=weights)
    else:
        show(_checkpoint_report(file, tensors=tensors, trust=trust, weights=weights), form)


def _stats_report(file: Path) -> Report:
    from condcli import statsfile
    from condcli.analysis.contents import ContentRow, contents, skipped
    from condcli.output.report import Report

    stats = statsfile.read(file)
    with naming(file):
        rows, left = contents(stats), skipped(stats)
    facts = {
        name.replace("_", " "): str(value)
        for name, value in asdict(stats.provenance).items()
        if value not in (None, "") and name != "label_counts"
    }
    return Report(
        command="inspect",
        file=file,
        row_type=ContentRow,
        rows=rows,
        facts=facts | left | {"integrity": "every checksum holds"},
    )


def _checkpoint_report(file: Path, *, tensors: bool, trust: bool, weights: str | None) -> Report:
    from condcli.models import ModuleRow, TensorRow, describe
    from condcli.output.report import Report

    description = describe(file, trust=trust, weights=weights)
    return Report(
        command="inspect",
        file=file,
        row_type=TensorRow if tensors else ModuleRow,
        rows=description.tensors() if tensors else description.modules(),
        facts=description.facts,
    )


def _write_scaffold(
    file: Path, target: Path, *, force: bool, trust: bool, weights: str | None
) -> None:
    """Writes the scaffold, and says what is to be done in it."""
    from condcli import statsfile
    from condcli.errors import UsageError
    from condcli.models import describe, scaffold
    from condcli.output.terminal import emit

    if target.suffix != ".py":
        raise UsageError(
            f"{target}: a scaffold is Python", "give --scaffold a name that ends in .py"
        )
    statsfile.check_output(target, force=force, inputs=[file])
    specs = describe(file, trust=trust, weights=weights).specs
    with naming(file):
        made = scaffold(specs, model=str(file), file=str(target))
    with statsfile.replacing(target, force=force) as written:
        written.write(made.text.encode())
    emit("".join(f"{line}\n" for line in _told(made, target)))


def _told(made: Scaffold, target: Path) -> Iterator[str]:
    classes = ", ".join(made.unfinished)
    yield f"{target}: written"
    if made.unfinished:
        yield f"the tensors do not tell how layers are connected: write the forward of {classes}"
    else:
        yield "the layers form a plain chain: correct what is marked as a guess"
    yield f"then: {made.probe}"

"""One short file a subcommand: parse, call, show. Here is what the reading commands share.

Nothing heavier than Typer is imported before a command runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from condcli.analysis.defaults import PERCENTAGES
from condcli.errors import UsageError
from condcli.errors import naming as naming
from condcli.machine import is_limited
from condcli.output import Format

if TYPE_CHECKING:
    from condcli.output.report import Report

StatsFile = Annotated[
    Path,
    # What cannot be read is an input that fails (exit 3), not wrong usage.
    typer.Argument(
        metavar="FILE", help="Statistics file that condcli probe wrote.", readable=False
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to write the result.")]
SortOption = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="COLUMN",
        help="Sort by a column of the CSV output, largest first; else as in the network.",
        show_default=False,
    ),
]
Percent = Annotated[
    str | None,
    typer.Option(
        metavar="P,P,…",
        help="κ_p = λ_1 / λ_⌈p·d⌉ for these p in percent, 0 < p ≤ 100.",
        show_default=",".join(f"{p:g}" for p in PERCENTAGES),
    ),
]
FailOnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="EXPR",
        help="Exit 1 when a row meets this: a column of the CSV output, compared with a number "
        "by >, >=, < or <=; repeatable.",
        show_default=False,
    ),
]


def workers() -> int:
    """Layers to solve side by side: one a core, unless the user gave BLAS threads of its own.

    One alone where memory is limited: each takes some in BLAS, which ends the process without any.
    """
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1" or is_limited():
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def show(
    report: Report,
    form: Format,
    *,
    sort: str | None = None,
    fail_on: Sequence[str] | None = None,
    write: Callable[[str], None] | None = None,
) -> None:
    """Print the report; then `typer.Exit` with code 1 if a row meets one of the conditions.

    `write` puts its text elsewhere than simply on stdout.
    """
    from condcli.output.columns import sorted_by
    from condcli.output.gate import parse_gate
    from condcli.output.render import render
    from condcli.output.terminal import emit, notice

    gates = [parse_gate(text, report) for text in fail_on or ()]
    if sort is not None:
        report = replace(report, rows=sorted_by(report, sort))
    (write or emit)(render(report, form))
    verdicts = [line for gate in gates for line in gate.verdict(report.rows)]
    for line in verdicts:
        notice(line)
    if verdicts:
        raise typer.Exit(1)


def percentages_in(text: str) -> Sequence[float]:
    """The numbers of --percent; UsageError for what is no list of numbers."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--percent {text!r} is no list of numbers", "pass for instance 100,80,50"
        ) from None

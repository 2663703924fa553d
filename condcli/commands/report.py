"""``condcli report FILE… -o FILE``: everything there is to see, as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from condcli.commands import workers

EXAMPLES = """
condcli report stats.h5 -o report.html

condcli report run/ -o run.html --title 'ResNet-18, lr 0.1'
"""

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE",
        help="Statistics file, or those of a run, or the folder that they are in.",
        readable=False,
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.", readable=False)]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file.")]
Title = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="The page's title.", show_default="the model and its data"),
]
ThresholdFile = Annotated[
    Path | None,
    typer.Option(
        "--thresholds",
        metavar="FILE.toml",
        help="Bounds of the diagnosis, as for condcli diagnose.",
        show_default=False,
        readable=False,
    ),
]


def report(
    files: Files,
    output: Output = Path("report.html"),
    title: Title = None,
    thresholds: ThresholdFile = None,
    force: Force = False,
) -> None:
    """Write all there is to see into one HTML page: diagnosis, layers, and the steps of a run.

    A browser shows it without a network; FILE is not needed for that any more.
    """
    from condcli import statsfile
    from condcli.analysis.diagnosis import DEFAULTS
    from condcli.analysis.diagnosis.threshold_file import read_thresholds
    from condcli.analysis.steps import files_of, note_on, numbered
    from condcli.output.escaping import escaped
    from condcli.output.page.contents import contents
    from condcli.output.page.document import document
    from condcli.output.page.step import shown
    from condcli.output.terminal import emit, is_quiet, notice

    bounds = DEFAULTS if thresholds is None else read_thresholds(thresholds)
    run = numbered(files_of(files))
    if len(run) > 1:
        notice(note_on(run[0].step_from))
    inputs = [item.path for item in run] + ([thresholds] if thresholds else [])
    statsfile.check_output(output, force=force, inputs=inputs)
    data = contents(run, thresholds=bounds, workers=workers())
    page = document(shown(title) if title else data["steps"][-1]["title"], data).encode()
    with statsfile.replacing(output, force=force) as file:
        file.write(page)
    if not is_quiet():
        layers, steps = len(data["layers"]), len(run)
        emit(
            f"{escaped(str(output))}: {layers} linear maps, {steps} step{'s' * (steps > 1)}, "
            f"{len(page) / 2**20:.2f} MiB\n"
        )

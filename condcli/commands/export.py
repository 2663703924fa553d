"""``condcli export RUN --to FORM -o OUT``: a run, written for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from condcli.analysis.defaults import PERCENT
from condcli.commands import workers

EXAMPLES = """
condcli export run/ --to tensorboard -o logs/

condcli export run/*.h5 --to parquet -o run.parquet
"""

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN", help="Statistics files of one network, or their folder.", readable=False
    ),
]
Form = Annotated[
    Literal["csv", "npz", "parquet", "tensorboard", "wandb-offline"],
    typer.Option("--to", help="What to write.", show_default=False),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="File to write; for tensorboard and wandb-offline a folder to write into.",
        readable=False,
        show_default=False,
    ),
]
Percent = Annotated[
    float, typer.Option(metavar="P", help="κ_p = λ_1 / λ_⌈p·d⌉ for this p, 0 < p ≤ 100.")
]
Cache = Annotated[
    bool,
    typer.Option(
        "--cache", help="Keep the eigenvalues in the files, so that no later command computes them."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file.")]


def export(
    files: Files,
    form: Form,
    output: Output,
    percent: Percent = PERCENT,
    cache: Cache = False,
    force: Force = False,
) -> None:
    """Write how λ_max, κ, weight domination, norms, neurons and the loss move, for other programs.

    One file is a run of one step.
    """
    from condcli import statsfile
    from condcli.analysis.steps import files_of, note_on
    from condcli.analysis.trajectory import trajectory
    from condcli.output.export import FOLDERS, export
    from condcli.output.terminal import emit, is_quiet, notice

    inputs = files_of(files)
    if form not in FOLDERS:
        statsfile.check_output(output, force=force, inputs=inputs)
    points = trajectory(inputs, percent=percent, workers=workers(), cache=cache)
    if len(points) > 1:
        notice(note_on(points[0].step_from))
    written = export(points, form, output, force=force)
    if not is_quiet():
        maps = max(len(point.layers) for point in points)
        emit(f"{written}: {len(points)} steps of {maps} linear maps\n")

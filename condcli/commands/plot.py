"""``condcli plot KIND FILE…``: pictures of statistics files and of runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from condcli.analysis.defaults import DOMINATION_THRESHOLD, PERCENT
from condcli.commands import FormatOption, show, workers
from condcli.errors import UsageError
from condcli.output import Format
from condcli.output.escaping import escaped
from condcli.output.plots import KINDS, RUN_KINDS

EXAMPLES = """
condcli plot depth plain.h5 bn.h5 -o depth.png

condcli plot run-magnitude plain/ bn/ --label Plain --label BN -o figure3.pdf

condcli plot matrices stats.h5 --layers 'fc[1-3]'

condcli plot --list
"""


def _complete(incomplete: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(incomplete)]


Kind = Annotated[
    str | None,
    typer.Argument(
        metavar="KIND",
        help="What to draw: " + ", ".join(KINDS) + ".",
        show_default=False,
        autocompletion=_complete,
    ),
]
Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FILE",
        help="Statistics files, each a series. For the kinds run-…: folders of them, each a run; "
        "files together are one.",
        readable=False,
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Picture to write: .png, .svg or .pdf.",
        readable=False,
        show_default="KIND.png",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file.")]
Layers = Annotated[
    str | None,
    typer.Option(metavar="GLOB", help="Only layers, or activations, so named.", show_default=False),
]
Percent = Annotated[float, typer.Option(metavar="P", help="The p of κ_p in percent.")]
Threshold = Annotated[
    float, typer.Option(metavar="RATIO", help="Of domination: where its line is drawn.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label", help="Name of a file or run in the figure; once for each.", show_default=False
    ),
]
LogSteps = Annotated[bool, typer.Option("--log-steps", help="Steps on a logarithmic axis.")]
Dpi = Annotated[
    int, typer.Option(min=30, max=1200, help="Pixels an inch of a PNG; a page is 7.2 inches wide.")
]
List = Annotated[bool, typer.Option("--list", help="Instead, list the kinds.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """A kind of figure."""

    kind: str = field(metadata={"whole": True})
    of: str = field(metadata={"whole": True})  # files or runs
    shows: str


def plot(
    kind: Kind = None,
    files: Files = None,
    output: Output = None,
    layers: Layers = None,
    percent: Percent = PERCENT,
    threshold: Threshold = DOMINATION_THRESHOLD,
    label: Labels = None,
    log_steps: LogSteps = False,
    dpi: Dpi = 200,
    force: Force = False,
    list_kinds: List = False,
    form: FormatOption = "table",
) -> None:
    """Draw statistics files, or runs of them over their steps, as PNG, SVG or PDF.

    Needs the extra plot, which brings matplotlib.
    """
    if list_kinds:
        _show_kinds(form)
        return
    if kind is None or kind not in KINDS:
        said = "no KIND is given" if kind is None else f"there is no KIND {kind!r}"
        raise UsageError(said, f"choose from {', '.join(KINDS)}")
    if not files:
        raise UsageError("no statistics file is given", "name those to plot")
    if not 0 < percent <= 100:
        raise UsageError(f"--percent {percent:g} is out of range", "pass from above 0 up to 100")
    if not 0 < threshold < math.inf:
        raise UsageError(f"--threshold {threshold:g} is not positive", "pass a number above 0")
    from condcli import statsfile
    from condcli.output.plots.drawing import DRAW_FILES, DRAW_RUNS, RUN_NEEDS
    from condcli.output.plots.saving import form_of, save
    from condcli.output.plots.sources import Options, inputs_of, runs_of, samples_of
    from condcli.output.plots.style import require_matplotlib
    from condcli.output.terminal import emit, is_quiet

    output = Path(f"{kind}.png") if output is None else output
    form_of(output)
    require_matplotlib()
    options = Options(
        layers=layers,
        percent=percent,
        threshold=threshold,
        log_steps=log_steps,
        workers=workers(),
    )
    inputs = inputs_of(files) if kind in RUN_KINDS else files
    statsfile.check_output(output, force=force, inputs=inputs)
    if kind in RUN_KINDS:
        runs = runs_of(files, label, options, RUN_NEEDS[kind])
        draw, headlines = partial(DRAW_RUNS[kind], runs, options), [run.headline for run in runs]
    else:
        samples = samples_of(files, label)
        draw = partial(DRAW_FILES[kind], samples, options)
        headlines = [sample.headline for sample in samples]
    save(
        draw,
        output,
        description=f"condcli plot {kind}: {' | '.join(headlines)}",
        dpi=dpi,
        force=force,
    )
    if not is_quiet():
        emit(f"{escaped(str(output))}: {KINDS[kind]}\n")


def _show_kinds(form: Format) -> None:
    from condcli.output.report import Report

    rows = [
        KindRow(kind=kind, of="runs" if kind in RUN_KINDS else "files", shows=shows)
        for kind, shows in KINDS.items()
    ]
    show(Report(command="plot --list", row_type=KindRow, rows=rows), form)

"""``condcli dynamics RUN``: how λ_max, κ, weight domination and the loss move over training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from condcli.analysis.defaults import DOMINATION_THRESHOLD, METRIC_NAMES, PERCENT
from condcli.commands import FailOnOption, FormatOption, SortOption, show, workers
from condcli.errors import UsageError
from condcli.output import Format

if TYPE_CHECKING:
    from condcli.output.run_view import RunView

EXAMPLES = """
condcli dynamics run/

condcli dynamics run/*.h5 --metric ratio --sort last

condcli dynamics run/ --steps --layers 'layer4.*' --format csv

condcli dynamics run/ --turning-points

condcli dynamics run/ --watch
"""
_PAUSE = 1.0  # seconds between two looks into the folder

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN", help="Statistics files of one network, or their folder.", readable=False
    ),
]


def _complete(incomplete: str) -> list[str]:
    return [name for name in METRIC_NAMES if name.startswith(incomplete)]


MetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="Only this number, of every layer or activation: loss, ratio, kappa, dying …",
        show_default=False,
        autocompletion=_complete,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers", metavar="GLOB", help="Only layers or activations so named.", show_default=False
    ),
]
Percent = Annotated[
    float, typer.Option(metavar="P", help="κ_p = λ_1 / λ_⌈p·d⌉ for this p, 0 < p ≤ 100.")
]
Threshold = Annotated[
    float, typer.Option(metavar="RATIO", help="Weight domination is below this ratio, above 0.")
]
Steps = Annotated[bool, typer.Option("--steps", help="Instead, a row for each step and layer.")]
TurningPoints = Annotated[
    bool, typer.Option("--turning-points", help="Instead, a row for each turning point.")
]
Watch = Annotated[
    bool, typer.Option("--watch", help="Go on as the folder grows, until Ctrl-C ends it.")
]
Cache = Annotated[
    bool,
    typer.Option(
        "--cache", help="Keep the eigenvalues in the files, so that no later command computes them."
    ),
]


def dynamics(
    files: Files,
    metric: MetricOption = None,
    layers: Layers = None,
    percent: Percent = PERCENT,
    threshold: Threshold = DOMINATION_THRESHOLD,
    steps: Steps = False,
    turning_points: TurningPoints = False,
    watch: Watch = False,
    cache: Cache = False,
    sort: SortOption = None,
    form: FormatOption = "table",
    fail_on: FailOnOption = None,
) -> None:
    """Show how the numbers of a network move over the steps of its training, layer by layer.

    Curves are on a log scale, each from its own least to its most; turning points are told above.
    """
    from condcli.analysis.steps import note_on
    from condcli.analysis.trajectory import trajectory
    from condcli.output.run_view import RunView
    from condcli.output.terminal import notice

    _check(metric, threshold, steps, turning_points)
    view = RunView(
        file=files[0] if len(files) == 1 else None,
        metric=metric,
        pattern=layers,
        threshold=threshold,
        steps=steps,
        turning_points=turning_points,
    )
    shown = partial(show, sort=sort, fail_on=fail_on)
    options: dict[str, Any] = {"percent": percent, "workers": workers(), "cache": cache}
    if watch:
        _watch(files, view, form, shown, options)
        return
    points = trajectory(files, **options)
    if len(points) > 1:
        notice(note_on(points[0].step_from))
    shown(view.report(points), form)


def _check(metric: str | None, threshold: float, steps: bool, turning_points: bool) -> None:
    """Raise UsageError for options that make no sense, before a file is read."""
    if metric is not None and metric not in METRIC_NAMES:
        known = ", ".join(METRIC_NAMES)
        raise UsageError(f"there is no metric {metric!r}", f"choose from {known}")
    if not 0 < threshold < float("inf"):
        raise UsageError(f"the threshold {threshold:g} is not positive", "pass a number above 0")
    if steps and turning_points:
        raise UsageError("--steps and --turning-points exclude each other", "pass one of the two")


def _watch(
    files: Sequence[Path],
    view: RunView,
    form: Format,
    shown: Callable[..., None],
    options: Mapping[str, Any],
) -> None:
    """Show the run whenever it has grown: drawn anew on a terminal, else only what is new."""
    from condcli.analysis.growing import growing
    from condcli.analysis.steps import inside
    from condcli.output.terminal import append, is_drawable, notice, redraw

    if len(files) != 1 or not files[0].is_dir():
        raise UsageError("--watch needs the folder of a run, and nothing else", "name it, as run/")
    if not inside(files[0]):
        notice(f"note: waiting for the first statistics file in {files[0]}")
    write = append
    for growth in growing(files[0], partial(time.sleep, _PAUSE), **options):
        if is_drawable():
            shown(view.report(growth.points), form, write=redraw)
            continue
        for new in growth.new:
            shown(view.block(growth.points, new), form, write=write)
            write = _after_header if form == "csv" else append


def _after_header(text: str) -> None:
    """A block of CSV after the first."""
    from condcli.output.terminal import append

    append(text.partition("\n")[2])

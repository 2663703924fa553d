"""A file, or the files of a run, as the page's data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from condcli import __version__, statsfile
from condcli.analysis.defaults import DOMINATION_THRESHOLD
from condcli.analysis.diagnosis import DEFAULTS, Thresholds
from condcli.analysis.steps import Numbered
from condcli.analysis.trajectory import Point, require_one_run
from condcli.analysis.turning_groups import told
from condcli.analysis.turning_points import turning_points
from condcli.errors import InputError
from condcli.output.cells import text
from condcli.output.page.columns import changed, headings
from condcli.output.page.curves import places, spread
from condcli.output.page.step import (
    Analysed,
    activation_facts,
    analysed,
    layer_facts,
    point_of,
    step_data,
)
from condcli.output.run_facts import names_of

_CURVES = 4  # a layer: eigenvalues of Σ_x and Σ_∇h, singular values of W and ∂L/∂W
_MOST_POINTS, _FEWEST_POINTS = 200, 20  # of a curve
_BUDGET = 250_000  # points in all, some 2 MB of text


def contents(
    run: Sequence[Numbered], *, thresholds: Thresholds = DEFAULTS, workers: int = 1
) -> dict[str, Any]:
    """The page's data of the files of a run, one or more; one is in memory at a time.

    Values that no step changes are there once. Where layers and steps are many, curves are thinner,
    and kept for evenly spread steps only. Raises `InputError` for files that are not of one
    network, and what the analyses raise, with the file's name.
    """
    data: dict[str, Any] = {}
    course: list[Point] = []
    points, detailed, sizes = 0, list[int](), set[int]()
    for place, item in enumerate(run):
        found = _analysed(item, thresholds, workers)
        course.append(point_of(item, found))
        require_one_run(course[0], course[-1])
        if not data:
            data = _frame(found)
            points, detailed = detail(len(run), len(found.layers))
        kept = points if place in detailed else 0
        one = step_data(found, file=item.path.name, step=_step(item, len(run)), points=kept)
        if data["steps"]:
            whole = data["steps"][0]["tables"]
            one["tables"] = {name: changed(one["tables"][name], whole[name]) for name in whole}
        data["steps"].append(one)
        sizes |= _sizes(one["curves"] or [])
    data["turning"] = _turning(course)
    data["places"] = {size: places(size, points).tolist() for size in sorted(sizes)}
    return data


def detail(steps: int, layers: int) -> tuple[int, list[int]]:
    """How many points a curve has, and the places of the steps that have curves."""
    curves = _CURVES * max(layers, 1)
    kept = spread(steps, _BUDGET // (curves * _FEWEST_POINTS))
    return min(_MOST_POINTS, max(_FEWEST_POINTS, _BUDGET // (curves * len(kept)))), kept


def _analysed(item: Numbered, thresholds: Thresholds, workers: int) -> Analysed:
    try:
        stats = statsfile.read(item.path)
        return analysed(stats, thresholds=thresholds, workers=workers)
    except InputError as error:
        if error.message.startswith(f"{item.path}:"):
            raise
        raise InputError(f"{item.path}: {error.message}", error.remedy) from error


def _step(item: Numbered, files: int) -> int | None:
    """The step of a file, where it is more than a number in a lone file's name or a place."""
    told = item.step_from == "file" or (item.step_from == "name" and files > 1)
    return item.step if told else None


def _frame(found: Analysed) -> dict[str, Any]:
    """What is the same for all steps, which are still to come."""
    return {
        "condcli": __version__,
        "layers": [layer_facts(layer) for layer in found.layers.values()],
        "activations": [activation_facts(one) for one in found.activations.values()],
        "domination_threshold": DOMINATION_THRESHOLD,
        "headings": {name: headings(report) for name, report in found.reports.items()},
        "skipped": dict(found.skipped),
        "steps": [],
    }


def _turning(course: Sequence[Point]) -> list[tuple[str, str]]:
    """Sentences on what turned in a run, each with its step or steps."""
    if len(course) == 1:
        return []
    sentences = told(turning_points(course), [one.step for one in course], names_of(course))
    return [(when, text(what)) for when, what in sentences.items() if when != "more"]


def _sizes(curves: list[dict[str, Any]]) -> set[int]:
    """How many values the curves stand for."""
    return {one["size"] for item in curves for one in item.values() if isinstance(one, dict)}

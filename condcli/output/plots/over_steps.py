"""Numbers of runs over their steps: a row of panels a run and a curve a layer, or a curve a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from condcli.analysis.trajectory import Point
from condcli.errors import UsageError
from condcli.output.plots.curves import Along, Panel, curve_figure
from condcli.output.plots.key import Key
from condcli.output.plots.lines import Curve
from condcli.output.plots.quantities import (
    LAST_LAYER,
    MAGNITUDES,
    NEURONS,
    WEIGHTS,
    Quantities,
    conditions,
    loss_title,
    value,
)
from condcli.output.plots.sources import Options, Run, chosen
from condcli.output.plots.style import label, looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_ROWS = 6


def fisher(runs: Sequence[Run], options: Options) -> Figure:
    """λ_max and κ_p of every layer's F: the paper's figure 1."""
    quantities = {**MAGNITUDES, **conditions(options.percent)}
    return _by_run(runs, options, {field: quantities[field] for field in ("lambda_max", "kappa")})


def magnitude(runs: Sequence[Run], options: Options) -> Figure:
    """λ_max of every layer's Σ_x, Σ_∇h and F: the paper's figure 3."""
    return _by_run(runs, options, MAGNITUDES)


def conditioning(runs: Sequence[Run], options: Options) -> Figure:
    """κ_p of every layer's Σ_x, Σ_∇h and F: the paper's figure 5."""
    return _by_run(runs, options, conditions(options.percent))


def weights(runs: Sequence[Run], options: Options) -> Figure:
    """σ_max of every layer's W and ∂L/∂W, and their ratio with the threshold of domination."""
    return _by_run(runs, options, WEIGHTS)


def neuron_shares(runs: Sequence[Run], options: Options) -> Figure:
    """The shares of dying and of full neurons of every activation: the paper's figure A13."""
    return _by_run(runs, options, NEURONS, what="activation")


def last_layer(runs: Sequence[Run], options: Options) -> Figure:
    """The loss, and the input, gradient and weight of the last layer: the paper's figure 7.

    The last of the layers that the options choose, in forward order; a curve a run.
    """
    key = Key(title="run", names=[run.name for run in runs], looks=looks(len(runs)))
    last = [_members(run, options, "layer")[-1] for run in runs]

    def panel(title: str, values: Any) -> Panel:
        curves = [
            Curve(
                look=look, places=_steps(run), values=[values(point, name) for point in run.points]
            )
            for look, run, name in zip(key.looks, runs, last, strict=True)
        ]
        return Panel(title=title, curves=curves)

    loss = loss_title(point.provenance for run in runs for point in run.points)
    panels = [panel(loss, lambda point, name: point.loss)]
    for field, title in LAST_LAYER.items():
        panels.append(
            panel(title, lambda point, name, field=field: value(point.layers.get(name), field))
        )
    return curve_figure([panels[:2], panels[2:]], _along(options), key)


def _by_run(
    runs: Sequence[Run], options: Options, quantities: Quantities, *, what: str = "layer"
) -> Figure:
    if len(runs) > _MOST_ROWS:
        raise UsageError(
            f"{len(runs)} runs do not fit onto a page", f"plot at most {_MOST_ROWS} at a time"
        )
    members = [_members(run, options, what) for run in runs]
    longest = max(members, key=len)
    same = all(names == longest for names in members)
    key = Key(
        title=f"{what}, in forward order",
        names=longest if same else [f"{what} {n}" for n in range(1, len(longest) + 1)],
        looks=looks(len(longest)),
    )

    def panel(run: Run, names: Sequence[str], field: str, title: str) -> Panel:
        return Panel(
            title=title,
            row_title=label(run.name),
            scale="share" if field in NEURONS else "log",
            threshold=options.threshold if field == "ratio" else None,
            curves=[
                Curve(
                    look=look,
                    places=_steps(run),
                    values=[value(_parts(point, what).get(name), field) for point in run.points],
                )
                for look, name in zip(key.looks, names, strict=False)
            ],
        )

    grid = [
        [panel(run, names, field, title) for field, title in quantities.items()]
        for run, names in zip(runs, members, strict=True)
    ]
    return curve_figure(grid, _along(options), key)


def _members(run: Run, options: Options, what: str) -> list[str]:
    """The layers or activations that are wanted, in forward order."""
    return chosen(_parts(run.points[0], what), options, what=what, where=run.path)


def _parts(point: Point, what: str) -> Mapping[str, Any]:
    return point.layers if what == "layer" else point.activations


def _steps(run: Run) -> list[float]:
    return [point.step for point in run.points]


def _along(options: Options) -> Along:
    return Along(title="training step", log=options.log_steps)

"""How often the neurons of each activation are on: a histogram each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from condcli.analysis.neurons import RELU_LIKE
from condcli.errors import UsageError
from condcli.output.plots.sources import Options, Sample, chosen, some
from condcli.output.plots.style import COLORS, WIDTH, label
from condcli.stats import ActivationStats, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 20
MOST = 24  # histograms on a page
_COLUMNS = (6, 5, 4)
_ROW = 1.3  # inches
_ON, _DYING, _FULL = "0.55", COLORS[1], COLORS[0]


def activity(samples: Sequence[Sample], options: Options) -> Figure:
    """The share of units against the share of rows on which they are on, an activation a panel.

    Dying and full units have bars of their own at 0 and 100 %. Of sigmoid and tanh it is the share
    of rows on which a unit is saturated. Of more than 24 activations, 24 in even distances.
    """
    from matplotlib.figure import Figure

    if len(samples) > 1:
        raise UsageError(f"activity shows one file, not {len(samples)}", "plot them one by one")
    sample = samples[0]
    names = chosen(sample.stats.activations, options, what="activation", where=sample.path)
    shown = [sample.stats.activations[name] for name in some(names, MOST, what="activations")]
    columns = min(len(shown), min(_COLUMNS, key=lambda count: -len(shown) % count))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(WIDTH, _ROW * rows + 0.7), layout="constrained")
    cells = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, item in zip(cells.flat, shown, strict=False):
        _draw(axes, item)
    for axes in cells.flat[len(shown) :]:
        axes.set_axis_off()
    for axes in cells.flat[max(0, len(shown) - columns) : len(shown)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("rows on which a unit is on, or saturated, %")
    figure.supylabel("units, %")
    _add_legend(figure)
    return figure


def _counts(item: ActivationStats) -> IntArray:
    """Of each unit the rows on which it is saturated (sigmoid, tanh), else on."""
    return item.active_count if item.saturated_count is None else item.saturated_count


def _draw(axes: Axes, item: ActivationStats) -> None:
    from matplotlib.ticker import PercentFormatter

    count, units, rows = _counts(item), max(item.units, 1), max(item.rows, 1)
    ends = {0: (_DYING, "////"), rows: (_FULL, "\\\\")} if item.function in RELU_LIKE else {}
    # In whole numbers: as fractions, counts on the edge of a bin would fall into either.
    bins = np.minimum(count[~np.isin(count, list(ends))] * BINS // rows, BINS - 1)
    heights = np.bincount(bins, minlength=BINS) / units
    width = 1 / BINS
    axes.bar(np.arange(BINS) * width, heights, width, align="edge", color=_ON, gid="on")
    for place, (color, hatch) in ends.items():
        axes.bar(
            1.02 if place else -0.02 - width,
            np.count_nonzero(count == place) / units,
            width,
            align="edge",
            color="white",
            edgecolor=color,
            hatch=hatch,
            gid="full" if place else "dying",
        )
    axes.set_title(f"{label(item.name, 18)}\n{item.function}, {item.units} units", fontsize=6.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1, symbol=""))
    axes.set_xlim(-0.1, 1.1)


def _add_legend(figure: Figure) -> None:
    from matplotlib.patches import Patch

    patches = [
        Patch(facecolor="white", edgecolor=_DYING, hatch="////", label="dying: never on"),
        Patch(facecolor=_ON, label="others"),
        Patch(facecolor="white", edgecolor=_FULL, hatch="\\\\", label="full: always on"),
    ]
    figure.legend(handles=patches, loc="outside upper center", ncols=3)

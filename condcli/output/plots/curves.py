"""Figures of curves: panels in a grid, a line a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from condcli.output.plots.key import Key, add_key
from condcli.output.plots.lines import LEVEL, Curve, Scale, draw_curve
from condcli.output.plots.style import COLORS, WIDTH, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMED = 30  # so many places have their names below them
_LEAST_RATIO = 3.0  # that a logarithmic axis spans
_LEAST_SHARE = 0.05
_ROW = 1.75  # inches: the height of a panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The curves of one quantity."""

    title: str
    curves: Sequence[Curve]
    row_title: str = ""
    scale: Scale = "log"
    threshold: float | None = None  # a line across


@dataclass(frozen=True, slots=True, kw_only=True)
class Along:
    """What the horizontal axis is of."""

    title: str
    names: Sequence[str] = ()  # of the places 1, 2, …
    log: bool = False  # linear from 0 to 1, so that step 0 has a place


def curve_figure(grid: Sequence[Sequence[Panel]], along: Along, key: Key) -> Figure:
    """The panels in rows; those of one title in a column have one scale, to be compared."""
    from matplotlib.figure import Figure

    named = 0 < len(along.names) <= _NAMED
    height = _ROW * len(grid) + (1.0 if named else 0.6)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    cells = figure.subplots(len(grid), len(grid[0]), sharex=True, squeeze=False)
    for row, panels in zip(cells, grid, strict=True):
        for axes, panel in zip(row, panels, strict=True):
            _draw(axes, panel)
        row[0].set_ylabel(panels[0].row_title)
    for column, panels in zip(cells.T, zip(*grid, strict=True), strict=True):
        if len({panel.title for panel in panels}) == 1:
            _compare(column)
        for axes, panel in zip(column, panels, strict=True):
            _set_range(axes, panel.scale)
    for axes in cells[-1]:
        _lay_out(axes, along, named=named)
    add_key(figure, cells, key)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    levels = 0  # rows of signs above the panel, one a series while these are few
    for curve in panel.curves:
        signs = draw_curve(axes, curve, panel.scale, levels)
        levels += signs and len(panel.curves) <= len(COLORS)
    axes.set_title(panel.title, pad=5 + LEVEL * levels)
    if not any(np.isfinite(line.get_ydata(orig=False)).any() for line in axes.lines):
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", color="0.4")
        axes.set_yticks([])
        return
    if panel.threshold is not None:
        axes.axhline(panel.threshold, color="0.3", linewidth=0.8, linestyle="--", gid="threshold")
    if panel.scale == "log":
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")


def _compare(column: Sequence[Axes]) -> None:
    """Of panels of one quantity: one title, and one scale where there is something to see."""
    for axes in column[1:]:
        axes.set_title("")
    shown = [axes for axes in column if not axes.texts]
    for axes in shown[1:]:
        axes.sharey(shown[0])
    if shown:
        shown[0].autoscale(axis="y")


def _set_range(axes: Axes, scale: Scale) -> None:
    """No range so narrow that rounding fills it, and no negative share."""
    low, high = axes.get_ylim()
    if scale == "share":
        axes.set_ylim(-_LEAST_SHARE / 20, max(high, _LEAST_SHARE))
    elif axes.get_yscale() == "log" and high < _LEAST_RATIO * low:
        middle = (low * high) ** 0.5
        axes.set_ylim(middle / _LEAST_RATIO**0.5, middle * _LEAST_RATIO**0.5)


def _lay_out(axes: Axes, along: Along, *, named: bool) -> None:
    """Ticks and title of the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(along.title)
    if named:
        axes.set_xticks(
            range(1, len(along.names) + 1), [label(name, 16) for name in along.names], rotation=90
        )
        axes.tick_params(axis="x", labelsize=5.5)
    elif along.log:
        axes.set_xscale("symlog", linthresh=1)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))

"""What a figure holds, read off its artists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from condcli.output.plots.sources import Sample
from condcli.output.plots.style import styled
from condcli.stats import ProbeStats


def drawn(function: Callable[..., Figure], *arguments: Any) -> Figure:
    """The figure, in its own style."""
    with styled():
        return function(*arguments)


def sample(stats: ProbeStats, name: str = "net") -> Sample:
    return Sample(name=name, path=Path(f"{name}.h5"), stats=stats)


def panels(figure: Figure) -> list[Axes]:
    """The panels in reading order, without colour bars."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def lines(axes: Axes, gid: str = "known") -> list[np.ndarray]:
    """The numbers of each line of one part, in the order of the series."""
    return [
        np.asarray(line.get_ydata(orig=True), dtype=float)
        for line in axes.lines
        if line.get_gid() == gid
    ]


def places(axes: Axes, gid: str = "known") -> list[list[float]]:
    """The horizontal places of the same."""
    return [
        np.asarray(line.get_xdata(orig=True), dtype=float).tolist()
        for line in axes.lines
        if line.get_gid() == gid
    ]


def texts(figure: Figure) -> list[str]:
    """What the legend says."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]

"""How the figures of docs/paper.md look."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe & Ito's colours, told apart by colour-blind readers; each series also has its own dashes.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (5, 1.5, 1, 1.5)))
WIDTH = 7.2  # inches: the text of a page
SETTINGS = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.4,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
}


def figure(rows: int, columns: int, *, height: float = 1.9, **options: Any) -> tuple[Figure, Any]:
    """A figure as wide as a page, and its axes (rows, columns); ``height`` is that of a row."""
    matplotlib.rcParams.update(SETTINGS)
    drawn = Figure(figsize=(WIDTH, height * rows + 0.3), layout="constrained", dpi=120)
    return drawn, drawn.subplots(rows, columns, squeeze=False, **options)


def save(drawn: Figure, path: Path) -> None:
    """As PNG, the same bytes for the same figure."""
    drawn.savefig(path, metadata={"Software": None})


def draw_by_layer(
    columns: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    quantities: Mapping[str, str],
    path: Path,
    *,
    linear: Collection[str] = (),
    shades: bool = False,
) -> None:
    """A column for each of ``columns`` (a line a label), a row for each quantity, by layer.

    Lines are of ``quantities`` (name to title) on a logarithmic axis, but for the ``linear`` ones;
    with ``shades``, from dark to light: they are in an order.
    """
    drawn, axes = figure(len(quantities), len(columns), sharex="col", sharey="row")
    labelled: list[str] = []
    for row, (quantity, title) in enumerate(quantities.items()):
        for panel, (caption, lines) in zip(axes[row], columns.items(), strict=True):
            for number, (label, depths) in enumerate(lines.items()):
                values = depths[quantity]
                style = {"color": shade(number, len(lines))} if shades else _style(number)
                panel.plot(range(1, len(values) + 1), values, label=label, **style)
            if quantity not in linear:
                panel.set_yscale("log")
            if row == 0:
                panel.set_title(caption, fontsize=8)
            if row == 0 and list(lines) != labelled:
                panel.legend(fontsize=6)
                labelled = list(lines)
        axes[row][0].set_ylabel(title)
    for panel in axes[-1]:
        panel.set_xlabel("layer")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    save(drawn, path)


def shade(number: int, count: int) -> Any:
    """From dark to light, for what is in an order: the colour of this one of so many."""
    return matplotlib.colormaps["viridis"](0.9 * number / max(1, count - 1))


def _style(number: int) -> dict[str, Any]:
    return {"color": COLORS[number], "ls": DASHES[number % len(DASHES)]}

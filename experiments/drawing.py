"""How the figures of docs/paper.md look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

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


def shade(number: int, count: int) -> Any:
    """From dark to light, for what is in an order: the colour of this one of so many."""
    return matplotlib.colormaps["viridis"](0.9 * number / max(1, count - 1))

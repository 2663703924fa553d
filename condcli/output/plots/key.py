"""Which line is whose: a legend of a few series, a colour bar of many, and what the signs mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from condcli.output.plots.style import COLORS, Look, label, shades

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# How the signs look that curves.py draws, by the name of the part.
_SIGNS: dict[str, tuple[str, dict[str, Any]]] = {
    "bounds": ("at least", {"linestyle": ":", "marker": "o", "markerfacecolor": "white"}),
    "zero": ("zero", {"linestyle": "", "marker": "x"}),
    "infinite": ("infinite", {"linestyle": "", "marker": r"$\infty$"}),
    "threshold": ("threshold", {"linestyle": "--"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The series of a figure."""

    title: str  # of what they are the members
    names: Sequence[str]
    looks: Sequence[Look]


def add_key(figure: Figure, cells: Any, key: Key) -> None:
    """A legend above the panels, and beside them a colour bar where the series are many."""
    handles = list(_handles(key)) if len(key.names) > 1 else []
    drawn = {line.get_gid() for axes in cells.flat for line in axes.lines}
    handles += [
        _line(name, color="0.3", **sign) for gid, (name, sign) in _SIGNS.items() if gid in drawn
    ]
    if len(key.names) > len(COLORS):
        _add_bar(figure, cells, key)
    if handles:
        figure.legend(
            handles=handles,
            labels=[str(handle.get_label()) for handle in handles],
            loc="outside upper center",
            ncols=min(len(handles), 6),
        )


def _handles(key: Key) -> Iterator[Line2D]:
    """A sample of each series, or of the first and the last where a colour bar has the others."""
    many = len(key.names) > len(COLORS)
    for name, look in zip(key.names, key.looks, strict=True):
        if look.marker or not many:
            yield _line(label(name), color=look.color, marker=look.marker, linestyle=look.dashes)


def _line(name: str, **looks: Any) -> Line2D:
    from matplotlib.lines import Line2D

    # An underscore at the beginning would keep it out of the legend.
    return Line2D([], [], label=f" {name}" if name.startswith("_") else name, **looks)


def _add_bar(figure: Figure, cells: Any, key: Key) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    scale = ScalarMappable(Normalize(1, len(key.names)), shades())
    figure.colorbar(
        scale,
        ax=cells,
        label=key.title,
        aspect=30,
        pad=0.01,
        ticks=MaxNLocator(nbins=6, integer=True, min_n_ticks=2),
    )

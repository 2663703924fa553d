"""How every figure looks: legible at the width of a page, in grey, and for colour-blind readers.

Up to seven series have the colours of Okabe & Ito ("Color Universal Design", 2008), each with a
marker and dashes of its own. More have one colour map from dark to light, and markers for the
first and the last. docs/plots.md has the palette.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from condcli.errors import UsageError
from condcli.output.escaping import escaped

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "os^Dv*X"
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (8, 2)),
    (0, (3, 1)),
    (0, (8, 1.5, 1, 1.5, 1, 1.5)),
    (0, (2, 2)),
)
DIVERGING = "RdBu_r"  # for signed entries
WIDTH = 7.2  # inches: the text of a page
_MAP = "plasma"
_LIGHTEST = 0.82  # of the map: what is lighter does not show on white
_RC: Any = {
    "axes.grid": True,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.labelsize": 8,
    "figure.titlesize": 8,
    "font.size": 8,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.4,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "pdf.fonttype": 42,  # letters stay letters, as journals ask
    "svg.hashsalt": "condcli",  # the same figure gives the same bytes
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How one series is drawn."""

    color: Any
    marker: str  # empty: none
    dashes: Any


def require_matplotlib() -> None:
    """Raise `UsageError`, with the remedy, where matplotlib cannot be imported."""
    os.environ.pop("MPLBACKEND", None)  # nothing is shown, and a wrong one would be an error
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # of its caches and settings
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "condcli plot needs the library matplotlib",
            "install it: pip install 'condcli[plot]'",
        ) from error
    except Exception as error:  # any that a settings file can cause
        raise UsageError(
            f"matplotlib does not start ({error})",
            "look at the settings in matplotlibrc, here or in your home",
        ) from error


@contextmanager
def styled() -> Iterator[None]:
    """Within, figures look as here, whatever the user's own settings of matplotlib are."""
    require_matplotlib()
    import matplotlib

    with warnings.catch_warnings(), matplotlib.rc_context():
        # Of panels whose numbers are all the same: `curves` gives them a range afterwards.
        warnings.filterwarnings("ignore", "Attempting to set identical", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def looks(count: int) -> list[Look]:
    """One for each of so many series."""
    if count <= len(COLORS):
        parts = zip(COLORS, MARKERS, DASHES, strict=True)
        return [Look(color=c, marker=m, dashes=d) for c, m, d in parts][:count]
    shade = shades()
    ends = {0: "^", count - 1: "o"}
    return [
        Look(color=shade(i / (count - 1)), marker=ends.get(i, ""), dashes="-") for i in range(count)
    ]


@cache
def shades() -> Colormap:
    """The colour map of an order: dark is first."""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps[_MAP](np.linspace(0, _LIGHTEST, 256)))


def label(text: str, most: int = 24) -> str:
    """The text as a figure shows it: cut in its middle, and what the font lacks as an escape.

    No `$` in it starts a formula.
    """
    if len(text) > most:
        tail = most // 2
        text = text[: most - 1 - tail] + "…" + text[len(text) - tail :]
    shown = "".join(c if ord(c) in _glyphs() else _escape(c) for c in escaped(text))
    return shown.replace("$", r"\$")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


@cache
def _glyphs() -> frozenset[int]:
    """The characters that the figures' font has."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())

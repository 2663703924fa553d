"""One series as a line, and what is not known of it shown as such.

A gap is a number that is not known. A zero, which no logarithm has, is a cross at the lower edge,
an infinite condition number an ∞ at the upper one. Where only a lower bound is known, the line is
dotted and its markers are open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from condcli.analysis.condition import ConditionNumber
from condcli.output.plots.style import Look
from condcli.stats import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scale = Literal["log", "share"]  # a share is from 0 to 1
Value = float | ConditionNumber | None
Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
LEVEL = 4.0  # points: the height of a row of signs at an edge
_MARKED = 60  # so many points have a marker each; of more, about a dozen have
_SMALL = 1.5  # the size of markers on lines that are told apart by colour alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One series of numbers."""

    look: Look
    places: Sequence[float]
    values: Sequence[Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The values of a curve, apart by what is known of them; NaN where another part has them."""

    known: FloatArray
    bounds: FloatArray  # lower ones
    zero: Mask
    infinite: Mask


def parted(values: Iterable[Value]) -> Parts:
    """Each value in its part."""
    pairs = np.array([_value_and_bound(value) for value in values], dtype=float).reshape(-1, 2)
    value, bounds = pairs.T
    zero, infinite = value == 0, np.isinf(value)
    known = np.where(zero | infinite, np.nan, value)
    return Parts(known=known, bounds=bounds, zero=zero, infinite=infinite)


def draw_curve(axes: Axes, curve: Curve, scale: Scale, level: int) -> bool:
    """Draw the curve; whether it has signs at the upper edge, which are in the row `level`."""
    places, look, parts = np.asarray(curve.places, dtype=float), curve.look, parted(curve.values)
    known = np.where(parts.zero, 0.0, parts.known) if scale == "share" else parts.known
    # Where there is nothing but a sign or a gap, there is a place, too.
    axes.update_datalim(np.column_stack([places, np.ones_like(places)]), updatey=False)
    if np.isfinite(parts.bounds).any():
        _draw_bounds(axes, places, known, parts.bounds, look)
    axes.plot(
        places,
        known,
        color=look.color,
        linestyle=look.dashes,
        marker=look.marker or "o",
        markersize=None if look.marker else _SMALL,
        markevery=_marked(np.isfinite(known), every=bool(look.marker)),
        gid="known",
    )
    if scale == "log":
        _draw_signs(axes, places[parts.zero], look, "zero", "x", height=0.0)
    _draw_signs(
        axes, places[parts.infinite], look, "infinite", r"$\infty$", height=1.0, level=level
    )
    return bool(parts.infinite.any())


def _value_and_bound(value: Value) -> tuple[float, float]:
    if isinstance(value, ConditionNumber):
        return _or_nan(value.value), _or_nan(value.lower_bound)
    return _or_nan(value), np.nan


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _draw_bounds(
    axes: Axes, places: FloatArray, known: FloatArray, bounds: FloatArray, look: Look
) -> None:
    """A dotted line through all that is known, and open markers on what is only a bound."""
    reach = np.where(np.isnan(known), bounds, known)
    axes.plot(places, reach, color=look.color, linestyle=":", linewidth=0.8, gid="reach")
    axes.plot(
        places,
        bounds,
        color=look.color,
        linestyle="",
        marker=look.marker or "o",
        markersize=None if look.marker else _SMALL,
        markerfacecolor="white",
        markeredgewidth=0.6,
        markevery=_marked(np.isfinite(bounds), every=bool(look.marker)),
        gid="bounds",
    )


def _marked(known: Mask, *, every: bool) -> list[int]:
    """The points with a marker: those that no line leads to, and all or some of the others."""
    padded = np.concatenate([[False], known, [False]])
    alone = known & ~padded[:-2] & ~padded[2:]
    step = 1 if len(known) <= _MARKED else len(known) // 12
    wanted = alone | (every & (np.arange(len(known)) % step == 0))
    return [int(i) for i in np.flatnonzero(wanted)]


def _draw_signs(
    axes: Axes,
    places: FloatArray,
    look: Look,
    gid: str,
    sign: str,
    *,
    height: float,
    level: int = 0,
) -> None:
    """A sign for each place at the lower (0) or upper (1) edge of the panel."""
    from matplotlib.transforms import ScaledTranslation

    if not places.size:
        return
    up = ScaledTranslation(0, level * LEVEL / 72, axes.figure.dpi_scale_trans)
    axes.plot(
        places,
        np.full(places.size, height),
        color=look.color,
        linestyle="",
        marker=sign,
        markersize=4,
        markeredgewidth=0.6,
        transform=axes.get_xaxis_transform() + up,
        clip_on=False,
        gid=gid,
    )

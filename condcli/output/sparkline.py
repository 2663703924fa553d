"""A spectrum, the course of a run, a histogram or a ratio in a few characters."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log10

_BLOCKS = "▁▂▃▄▅▆▇█"
_UNRESOLVED = "·"
_DECADES = 8  # of a bar
_ROUNDING = 1e-6  # what is level but for rounding is drawn level
_LEAST_RANGE = log10(2)  # decades that the full height stands for, at least


def sparkline(decades: Sequence[float | None]) -> str:
    """One block a value of log10(λ/λ_1): full within a decade of λ_1, one step lower each decade.

    None, an eigenvalue that is not resolved, is a dot.
    """
    return "".join(map(_block, decades))


def curve(values: Sequence[float | None], width: int) -> str:
    """At most `width` blocks, on a log scale from the least value to the most.

    Of more values, evenly spaced ones are drawn. What is not above zero is lowest, and no finite
    value a dot. A factor of two fills the height, so that small changes do not look large.
    """
    chosen = [values[k] for k in _places(len(values), width)]
    decades = [log10(v) for v in chosen if v is not None and isfinite(v) and v > 0]
    low, high = min(decades, default=0.0), max(decades, default=0.0)
    extent = max(high - low, _LEAST_RANGE)
    bottom = (low + high - extent) / 2
    return "".join(_level(value, bottom, extent) for value in chosen)


def histogram(counts: Sequence[int]) -> str:
    """One block a count, on a linear scale from none to the most; one of few is not lost."""
    most = max(counts, default=0)
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[-(-top * count // most) if most else 0] for count in counts)


def bar(ratio: float) -> str:
    """One block a decade above 1e-8, dots up to 1: a ratio on a log scale."""
    decades = _DECADES + log10(ratio) if ratio > 0 else 0.0
    filled = round(min(_DECADES, max(0.0, decades)))
    return _BLOCKS[-1] * filled + _UNRESOLVED * (_DECADES - filled)


def _places(count: int, width: int) -> list[int]:
    if count <= width:
        return list(range(count))
    return [round(k * (count - 1) / (width - 1)) for k in range(width)]


def _level(value: float | None, bottom: float, extent: float) -> str:
    if value is None or not isfinite(value):
        return _UNRESOLVED
    if value <= 0:
        return _BLOCKS[0]
    level = (len(_BLOCKS) - 1) * (log10(value) - bottom) / extent
    return _BLOCKS[round(level - _ROUNDING)]


def _block(decades: float | None) -> str:
    if decades is None:
        return _UNRESOLVED
    return _BLOCKS[max(0, len(_BLOCKS) - 1 - int(-decades))]

"""Where a curve turns: its rises and falls by a factor, and its crossings of a threshold.

One odd file is no turning point: each value is first replaced by the median of itself and its two
neighbours (Tukey's running median of 3), which leaves steps and monotone stretches as they are. The
first and the last value stay. What is left is cut into legs, as a zigzag line: each goes up or down
by at least the given factor, and within it the curve never goes back by that factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, log10

_BEGUN, _DONE = 0.2, 0.8  # shares of a leg's decades between which most of it happens

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One rise or fall; the places are those of the values, gaps included."""

    start: int  # the extremes that it goes between
    stop: int
    begun: int  # the last place at which no more than a fifth of its decades is done
    done: int  # the first one after that at which four fifths are
    before: float  # the values at both extremes
    after: float

    @property
    def rises(self) -> bool:
        """Whether it goes up."""
        return self.after > self.before

    @property
    def fold(self) -> float:
        """The larger of the two values over the smaller."""
        return max(self.after, self.before) / min(self.after, self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A curve gets below, or no longer is, at a place; at place 0 it begins there."""

    place: int
    below: bool


def legs(values: Values, factor: float) -> list[Leg]:
    """The rises and falls by at least `factor`, in turn; what is not above zero is a gap."""
    places = [place for place, value in enumerate(values) if _is_positive(value)]
    smooth = smoothed([value for value in values if _is_positive(value)])  # type: ignore[misc]
    decades = [log10(value) for value in smooth]
    found = []
    for start, stop in _extremes(decades, log10(factor)):
        height = decades[stop] - decades[start]
        shares = [(y - decades[start]) / height for y in decades[start : stop + 1]]
        begun = max(k for k, share in enumerate(shares) if share <= _BEGUN)
        done = min(k for k, share in enumerate(shares) if k > begun and share >= _DONE)
        found.append(
            Leg(
                start=places[start],
                stop=places[stop],
                begun=places[start + begun],
                done=places[start + done],
                before=smooth[start],
                after=smooth[stop],
            )
        )
    return found


def crossings(values: Values, *, low: float, high: float) -> list[Crossing]:
    """Where a curve gets below `low`, and where it is back at `high` or above; gaps do not count.

    The value and its running median both do. A curve that begins below `low` has a crossing at its
    first place.
    """
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    below, found = False, []
    for (place, value), usual in zip(known, smoothed([v for _, v in known]), strict=True):
        if max(value, usual) < low if not below else min(value, usual) >= high:
            below = not below
            found.append(Crossing(place=place, below=below))
    return found


def smoothed(values: Sequence[float]) -> list[float]:
    """The running medians of 3, the first and the last value as they are."""
    inner = [sorted(values[k - 1 : k + 2])[1] for k in range(1, len(values) - 1)]
    return [*values[:1], *inner, *values[1:][-1:]]


def _is_positive(value: float | None) -> bool:
    return value is not None and isfinite(value) and value > 0


def _extremes(decades: Sequence[float], least: float) -> Iterator[tuple[int, int]]:
    """The places that each leg goes between."""
    lowest = highest = start = extreme = direction = 0
    for k, y in enumerate(decades):
        if not direction:
            lowest = k if y < decades[lowest] else lowest
            highest = k if y > decades[highest] else highest
            if decades[highest] - decades[lowest] >= least:
                direction = 1 if lowest < highest else -1
                start, extreme = min(lowest, highest), max(lowest, highest)
        elif direction * (y - decades[extreme]) > 0:
            extreme = k
        elif direction * (decades[extreme] - y) >= least:
            yield start, extreme
            start, extreme, direction = extreme, k, -direction
    if direction:
        yield start, extreme

"""Two statistics files side by side: where neurons died, filled up or saturated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from condcli.analysis.matching import TOGETHER, match_of, matched
from condcli.analysis.neurons import NeuronRow, neurons
from condcli.stats import ProbeStats

_SHARES = ("dying", "full", "saturated")


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronNumbers:
    """What is compared of one activation; None where it is not defined for the function."""

    shape: tuple[object, ...]  # activations that differ here are matched by name only
    units: int
    dying: float | None  # shares: of the units,
    full: float | None
    saturated: float | None  # and of all units on all rows


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareNeuronsRow:
    """One activation in both files, or in one of them."""

    activation: str = field(metadata={"title": "activation"})  # in the first file that has it
    units: int = field(metadata={"title": "units", "drop": 1})
    most: str = field(metadata={"title": "changed most"})  # dying, full or saturated; or empty
    by: float | None = field(metadata={"title": "by", "format": "percent"})  # second less first
    dying_first: float | None = field(metadata={"title": "dying", "format": "percent"})
    dying_then: float | None = field(metadata={"title": "then", "format": "percent"})
    full_first: float | None = field(metadata={"title": "full", "format": "percent"})
    full_then: float | None = field(metadata={"title": "then", "format": "percent"})
    saturated_first: float | None = field(
        metadata={"title": "saturated", "format": "percent", "drop": 2, "optional": True}
    )
    saturated_then: float | None = field(
        metadata={"title": "then", "format": "percent", "drop": 2, "optional": True}
    )
    match: str = field(metadata={"title": "match", "shown_in": ("machine",)})  # name, shape, alone
    # the activation's name in the second file; empty where it is not there
    other: str = field(metadata={"title": "other", "shown_in": ("machine",)})
    file: str = field(default="", metadata={"title": "file", "shown_in": ("machine",)})


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareNeuronsOneOf(CompareNeuronsRow):
    """A row where several files are compared with the first."""

    file: str = field(default="", metadata={"title": "file"})


def compare_neurons(first: ProbeStats, then: ProbeStats) -> list[CompareNeuronsRow]:
    """One row an activation, the largest change of a share first; those of one file come last.

    Activations are matched by name; those left, in forward order by function and units.
    """
    return side_by_side(numbers_of(first), numbers_of(then))


def numbers_of(stats: ProbeStats) -> dict[str, NeuronNumbers]:
    """What is compared of every activation, in forward order."""
    return {row.activation: _numbers(row) for row in neurons(stats)}


def side_by_side(
    first: Mapping[str, NeuronNumbers], then: Mapping[str, NeuronNumbers]
) -> list[CompareNeuronsRow]:
    """The rows of `compare_neurons`, of what `numbers_of` gave for each."""
    rows = [_row(a, b, first, then) for a, b in matched(first, then)]
    return sorted(rows, key=lambda row: (row.match not in TOGETHER, -abs(row.by or 0.0)))


def _numbers(row: NeuronRow) -> NeuronNumbers:
    return NeuronNumbers(
        shape=(row.function, row.units),
        units=row.units,
        dying=row.dying_share,
        full=row.full_share,
        saturated=row.saturated_share,
    )


def _row(
    a: str | None,
    b: str | None,
    first: Mapping[str, NeuronNumbers],
    then: Mapping[str, NeuronNumbers],
) -> CompareNeuronsRow:
    old, new = first[a] if a is not None else None, then[b] if b is not None else None
    known = old or new
    assert known is not None, "a name of neither file"
    changes = {share: _change(old, new, share) for share in _SHARES}
    most = max(_SHARES, key=lambda share: abs(changes[share] or 0.0))
    changed = bool(changes[most])
    return CompareNeuronsRow(
        activation=a if a is not None else b or "",
        units=known.units,
        most=most if changed else "",
        by=changes[most] if changed else None,
        dying_first=_share(old, "dying"),
        dying_then=_share(new, "dying"),
        full_first=_share(old, "full"),
        full_then=_share(new, "full"),
        saturated_first=_share(old, "saturated"),
        saturated_then=_share(new, "saturated"),
        match=match_of(a, b),
        other=b or "",
    )


def _share(numbers: NeuronNumbers | None, share: str) -> float | None:
    found: float | None = None if numbers is None else getattr(numbers, share)
    return found


def _change(old: NeuronNumbers | None, new: NeuronNumbers | None, share: str) -> float | None:
    before, after = _share(old, share), _share(new, share)
    return None if before is None or after is None else after - before

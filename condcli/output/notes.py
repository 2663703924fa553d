"""Which signs of a legend occur in the cells shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def notes(legend: Mapping[str, str], cells: Iterable[str]) -> dict[str, str]:
    """The part of the legend whose signs begin one of the cells."""
    begun = {cell[:1] for cell in cells}
    return {sign: meaning for sign, meaning in legend.items() if sign in begun}

"""Fitting a table into a width: which columns stay, and how much of a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from condcli.output.terminal import showable

GAP = 2  # spaces between columns
_NARROWEST_TEXT = 16  # a text is cut to this before a column is dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """One column as it is shown."""

    title: str
    texts: Sequence[str]
    drop: int = 0  # the higher, the sooner it is omitted; 0 is never
    cuttable: bool = False  # texts, such as names, that may be shortened
    left: bool = False  # aligned

    @property
    def width(self) -> int:
        """The width that shows everything."""
        return max(map(len, [self.title, *self.texts]))

    @property
    def least_width(self) -> int:
        """The width below which a column is better dropped."""
        return min(self.width, _NARROWEST_TEXT) if self.cuttable else self.width

    def cut(self, width: int) -> Cells:
        """The column with its texts no wider than this."""
        return replace(self, texts=[shortened(text, width) for text in self.texts])


def fitted(columns: Sequence[Cells], width: int) -> list[Cells]:
    """The columns that fit into the width, long texts cut where that is needed."""
    kept = list(columns)
    while _total(cells.least_width for cells in kept) > width:
        most = max(cells.drop for cells in kept)
        if most == 0:
            break
        kept = [cells for cells in kept if cells.drop < most]
    return _texts_cut(kept, width)


def shortened(text: str, width: int) -> str:
    """The text cut in the middle to a width: both ends of a layer's name tell it apart."""
    if len(text) <= width:
        return text
    tail = width // 2
    return text[: width - 1 - tail] + showable("…") + text[len(text) - tail :]


def _texts_cut(columns: Sequence[Cells], width: int) -> list[Cells]:
    excess = _total(cells.width for cells in columns) - width
    result = []
    for cells in columns:
        spare = min(max(excess, 0), cells.width - cells.least_width)
        excess -= spare
        result.append(cells.cut(cells.width - spare) if spare else cells)
    return result


def _total(widths: Iterable[int]) -> int:
    sizes = list(widths)
    return sum(sizes) + GAP * (len(sizes) - 1)

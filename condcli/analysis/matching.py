"""Which parts of two networks are taken for one: by name, else by order and shape."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Literal, Protocol

TOGETHER = ("name", "shape")  # how parts of both files are matched


class Shaped(Protocol):
    """A layer or an activation; those of unlike shapes are matched by name only."""

    @property
    def shape(self) -> tuple[object, ...]:
        """What they must have in common."""


def matched(
    first: Mapping[str, Shaped], then: Mapping[str, Shaped]
) -> list[tuple[str | None, str | None]]:
    """The names that are taken for one part, and None beside those of one file only."""
    left = (
        [name for name in first if name not in then],
        [name for name in then if name not in first],
    )
    shapes = [first[name].shape for name in left[0]], [then[name].shape for name in left[1]]
    alike = SequenceMatcher(None, *shapes, autojunk=False)
    shaped = [
        (left[0][block.a + k], left[1][block.b + k])
        for block in alike.get_matching_blocks()
        for k in range(block.size)
    ]
    taken = {name for pair in shaped for name in pair}
    return [
        *((name, name) for name in first if name in then),
        *shaped,
        *((name, None) for name in left[0] if name not in taken),
        *((None, name) for name in left[1] if name not in taken),
    ]


def match_of(a: str | None, b: str | None) -> Literal["name", "shape", "alone"]:
    """How two names came together."""
    if a is None or b is None:
        return "alone"
    return "name" if a == b else "shape"

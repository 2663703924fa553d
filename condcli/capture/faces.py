"""The places around a convolution at which a patch still meets the feature map, face by face.

A stride-1 convolution has its patches in a box of places. Outside it a patch may lie along one axis
or several. By inclusion and exclusion a sum over the box is that over all places of the grid, less
those at one place outside along an axis and anywhere along the others, and those along two axes
once more, and so on. Each of these terms is a sum over the whole grid of a map of fewer axes, in
which the rows that a patch meets lie side by side as channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import prod

import torch
from torch import Tensor

from condcli.capture.patches import Window

Box = tuple[tuple[int, int], ...]  # (start, stop) along each axis of the kernel
Met = tuple[tuple[int, int], range]  # what of the kernel meets what of the map, along one axis


@dataclass(frozen=True)
class Face:
    """Places that lie at one place outside along some axes, and anywhere along the others."""

    window: Window  # how patches lie in a map of the others alone: anywhere
    box: Box  # what of the kernel meets the map: all of it along the others
    rows: tuple[range, ...]  # and what of the map it meets
    fixed: tuple[int, ...]  # the axes along which it lies outside

    @property
    def features(self) -> int:
        """How many channels its map has for each of x."""
        return prod(len(self.rows[axis]) for axis in self.fixed)

    @property
    def places(self) -> int:
        """Of its map."""
        return prod(len(rows) for axis, rows in enumerate(self.rows) if axis not in self.fixed)

    def map_of(self, x: Tensor) -> Tensor:
        """What of x, (N, G·C, …), its patches meet, (N, G·features·C, …), the rows in order."""
        if not self.fixed:
            return x
        where = (slice(rows.start, rows.stop, rows.step) for rows in self.rows)
        index = (slice(None), slice(None), *where)
        apart = x[index].unflatten(1, (self.window.groups, -1))
        first = range(2, 2 + len(self.fixed))
        moved = apart.movedim([3 + axis for axis in self.fixed], list(first))
        merged: Tensor = moved.flatten(1, first.stop)
        return merged if merged.dim() > 2 else merged.unsqueeze(-1)


@lru_cache
def faces(window: Window, sizes: tuple[int, ...]) -> tuple[Face, ...]:
    """All faces of maps of these sizes; the first is the whole grid."""
    return tuple(_faces(window, sizes))


def _faces(window: Window, sizes: tuple[int, ...]) -> Iterator[Face]:
    along: list[list[Met]] = [
        [((0, window.kernel[axis]), range(size)), *_outside(window, axis, size)]
        for axis, size in enumerate(sizes)
    ]
    for each in product(*along):
        box, rows = zip(*each, strict=True)
        free = free_axes(box, window.kernel)
        within = Window(
            kernel=tuple(window.kernel[axis] for axis in free) or (1,),
            stride=(1,) * (len(free) or 1),
            padding=((0, 0),) * (len(free) or 1),
            dilation=tuple(window.dilation[axis] for axis in free) or (1,),
            groups=window.groups,
        )
        fixed = tuple(axis for axis in range(len(sizes)) if axis not in free)
        yield Face(within, box, rows, fixed)


def _outside(window: Window, axis: int, size: int) -> Iterator[Met]:
    """What meets what where a patch begins outside along the axis: never the whole kernel."""
    step, reach, (before, after) = window.dilation[axis], window.reach[axis], window.padding[axis]
    for place in (*range(-reach, -before), *range(size + after - reach, size)):
        met = [n for n in range(window.kernel[axis]) if 0 <= place + n * step < size]
        if met:
            rows = range(place + met[0] * step, place + met[-1] * step + 1, step)
            yield (met[0], met[-1] + 1), rows


def free_axes(box: Box, kernel: Sequence[int]) -> list[int]:
    """The axes along which patches with this of the kernel in the map lie anywhere."""
    return [axis for axis, (ends, k) in enumerate(zip(box, kernel, strict=True)) if ends == (0, k)]


def side_by_side(window: Window, x: Tensor) -> Iterator[tuple[tuple[Box, ...], Window, Tensor]]:
    """The maps of all faces of x, those that are alike together in one, (N, faces·G·C, …).

    With each the faces' boxes and how patches lie in it. Small maps take as long as their number
    of calls.
    """
    alike: dict[tuple[Window, torch.Size], list[tuple[Box, Tensor]]] = {}
    for face in faces(window, x.shape[2:]):
        met = face.map_of(x)
        alike.setdefault((face.window, met.shape), []).append((face.box, met))
    for (within, _), some in alike.items():
        boxes, maps = zip(*some, strict=True)
        # In channels-last order, in which they lie in memory where that matters.
        lasts = [met.movedim(1, -1) for met in maps]
        yield (
            boxes,
            replace(within, groups=len(boxes) * window.groups),
            (maps[0] if len(maps) == 1 else torch.cat(lasts, -1).movedim(-1, 1)),
        )

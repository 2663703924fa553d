"""The convolution as a linear map: which rows it sees, in either conv view.

In the view ``patches`` (KFC: Grosse & Martens, ICML 2016) a row of the input is the C_in×k×…×k
patch under one output position; in the view ``channels`` (Huang et al., ECCV 2020, the convention
of batch normalisation) it is the C_in-vector at one location of the input feature map. A row of
the output is always the C_out-vector at one output position. Groups come first in every array:
a grouped convolution is G linear maps side by side.

A transposed convolution is the ordinary stride-1 convolution, with the kernel flipped, of its
input with stride − 1 zeros put between neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from condcli.capture.padding import blank
from condcli.capture.patches import Window, patch_rows


@dataclass(frozen=True)
class Convolution:
    """Geometry of one call; per spatial axis where a tuple, padding as (before, after) pairs."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool = False
    cropping: tuple[tuple[int, int], ...] = ()  # what the module itself had padded, by axis

    @property
    def unit_axis(self) -> int:
        """The channels', batch axis or not."""
        return -1 - len(self.kernel)

    def is_batch_of(self, x: Tensor, examples: int) -> bool:
        """Whether x is (N, C_in, …) for so many examples."""
        return x.dim() == len(self.kernel) + 2 and x.shape[0] == examples

    def weight_matrix(self, weight: Tensor) -> Tensor:
        """The weight as (G, C_out/G, C_in/G·k), so that ``patches @ Wᵀ`` is the output."""
        if not self.transposed:
            return weight.reshape(self.groups, weight.shape[0] // self.groups, -1)
        spatial = tuple(range(2, weight.dim()))
        by_group: Tensor = weight.flip(spatial).unflatten(0, (self.groups, -1))
        return by_group.transpose(1, 2).flatten(2)

    def input_rows(self, x: Tensor, view: str, real: Tensor | None = None) -> Iterator[Tensor]:
        """Blocks of input rows, each (G, rows, features), for x of shape (N, C_in, …).

        Those of ``patch_rows`` in the view ``patches``. Rows that are not ``real``, (N, positions),
        are zero.
        """
        if view == "channels":
            yield self.output_rows(blank(self._uncropped(self.batched(x)), real, 1))
        else:
            yield from patch_rows(*self.window(x), real)

    def output_rows(self, h: Tensor) -> Tensor:
        """(G, N·positions, C/G) from a feature map (N, C, …); of a channels-last one a view."""
        rows: Tensor = self.batched(h).movedim(1, -1).flatten(0, -2)
        by_group: Tensor = rows.unflatten(1, (self.groups, -1))
        return by_group.transpose(0, 1)

    def window(self, x: Tensor) -> tuple[Window, Tensor]:
        """How the patches lie in a map made from x: batched, cropped and, if transposed, spread."""
        x, stride = self.batched(x), self.stride
        if self.transposed:
            x, stride = _spread(x, stride), (1,) * len(stride)
        for axis, sides in enumerate(self.padding, start=2):
            before, after = (max(0, -side) for side in sides)
            x = x.narrow(axis, before, x.shape[axis] - before - after)
        padding = tuple((max(0, before), max(0, after)) for before, after in self.padding)
        return Window(self.kernel, stride, padding, self.dilation, self.groups), x

    def batched(self, x: Tensor) -> Tensor:
        """(N, C, …) also from a single (C, …)."""
        return x.unsqueeze(0) if x.dim() == len(self.kernel) + 1 else x

    def _uncropped(self, x: Tensor) -> Tensor:
        """The feature map as it was before the module's own reflect, replicate or circular pad."""
        for axis, (before, after) in enumerate(self.cropping, start=2):
            x = x.narrow(axis, before, x.shape[axis] - before - after)
        return x


def _spread(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    """X with stride − 1 zeros between neighbours along each spatial axis."""
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
    spread = x.new_zeros(*x.shape[:2], *sizes)
    every_stride = (slice(None), slice(None), *(slice(None, None, s) for s in stride))
    spread[every_stride] = x
    return spread

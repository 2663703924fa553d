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
from itertools import chain, pairwise

import torch.nn.functional as F
from torch import Tensor

from condcli.capture.padding import blank

# Patches are copied out in blocks of at most this many numbers: 16 MiB of float32, far below
# the whole unfolded input and large enough for a matrix product to run at full speed.
BLOCK_NUMBERS = 2**22


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

        Rows that are not ``real``, (N, positions), are zero.
        """
        x = self._batched(x)
        if view == "channels":
            yield self.output_rows(blank(self._uncropped(x), real, 1))
        else:
            yield from self._patches(self._prepared(x), real)

    def output_rows(self, h: Tensor) -> Tensor:
        """(G, N·positions, C/G) from a feature map (N, C, …)."""
        by_group: Tensor = self._batched(h).unflatten(1, (self.groups, -1)).flatten(3)
        return by_group.permute(1, 0, 3, 2).flatten(1, 2)

    def _batched(self, x: Tensor) -> Tensor:
        return x.unsqueeze(0) if x.dim() == len(self.kernel) + 1 else x

    def _uncropped(self, x: Tensor) -> Tensor:
        """The feature map as it was before the module's own reflect, replicate or circular pad."""
        for axis, (before, after) in enumerate(self.cropping, start=2):
            x = x.narrow(axis, before, x.shape[axis] - before - after)
        return x

    def _prepared(self, x: Tensor) -> Tensor:
        """The input that the equivalent padding-free ordinary convolution slides over."""
        if self.transposed:
            x = _spread(x, self.stride)
        # F.pad counts axes from the last; negative numbers crop, which transposed maps need.
        return F.pad(x, list(chain.from_iterable(reversed(self.padding))))

    def _patches(self, x: Tensor, real: Tensor | None) -> Iterator[Tensor]:
        stride = (1,) * len(self.stride) if self.transposed else self.stride
        reach = [(k - 1) * d for k, d in zip(self.kernel, self.dilation, strict=True)]
        positions = [
            (size - r - 1) // s + 1 for size, r, s in zip(x.shape[2:], reach, stride, strict=True)
        ]
        moves = x.stride()[2:]
        windows = x.as_strided(  # (N, C, positions…, kernel…) without a copy
            (*x.shape[:2], *positions, *self.kernel),
            (
                *x.stride()[:2],
                *(m * s for m, s in zip(moves, stride, strict=True)),
                *(m * d for m, d in zip(moves, self.dilation, strict=True)),
            ),
            x.storage_offset(),
        )
        for examples, places in _blocks(windows):
            rows = self._window_rows(windows[examples, :, places])
            known = None if real is None else real[examples, places].flatten()
            yield blank(rows, known, -1)

    def _window_rows(self, windows: Tensor) -> Tensor:
        axes = len(self.kernel)
        windows = windows.unflatten(1, (self.groups, -1))  # (n, G, C/G, positions…, kernel…)
        position_axes = range(3, 3 + axes)
        kernel_axes = range(3 + axes, 3 + 2 * axes)
        rows = windows.permute(1, 0, *position_axes, 2, *kernel_axes)
        return rows.flatten(2 + axes).flatten(1, 1 + axes)


def _spread(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    """X with stride − 1 zeros between neighbours along each spatial axis."""
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
    spread = x.new_zeros(*x.shape[:2], *sizes)
    every_stride = (slice(None), slice(None), *(slice(None, None, s) for s in stride))
    spread[every_stride] = x
    return spread


def _blocks(windows: Tensor) -> Iterator[tuple[slice, slice]]:
    """Bounded pieces, split by example and then along the first position axis."""
    examples, _, places = windows.shape[:3]
    for some in _slices(examples, -(-windows.numel() // BLOCK_NUMBERS)):
        pieces = -(-windows[some].numel() // BLOCK_NUMBERS)
        for place in _slices(places, pieces):
            yield some, place


def _slices(size: int, pieces: int) -> Iterator[slice]:
    """So many nearly equal parts of a range, at most one an item."""
    pieces = max(1, min(pieces, size))
    bounds = [size * i // pieces for i in range(pieces + 1)]
    return (slice(*ends) for ends in pairwise(bounds))

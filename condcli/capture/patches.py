"""The k×…×k×C patches that a convolution slides over, copied out in bounded blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from condcli.capture.padding import blank

# A block has about this many numbers, 4 MiB of float32, so that it is still in the cache when it
# is multiplied, and no fewer rows than make a fast product.
BLOCK_NUMBERS = 2**20
BLOCK_ROWS = 1024


@dataclass(frozen=True)
class Window:
    """How patches lie in a feature map; per spatial axis where a tuple."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # zeros (before, after), none negative
    dilation: tuple[int, ...]
    groups: int

    @property
    def reach(self) -> tuple[int, ...]:
        """Steps from a patch's first to its last place."""
        return tuple(d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True))

    def positions(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """How many patches there are along each axis of a feature map of these sizes."""
        along = zip(sizes, self.padding, self.reach, self.stride, strict=True)
        return tuple((size + sum(p) - r - 1) // s + 1 for size, p, r, s in along)


def patch_rows(window: Window, x: Tensor, real: Tensor | None = None) -> Iterator[Tensor]:
    """Blocks of all patches of x, (N, C, …), as rows (G, n, k·…·k·C/G): the features of a row are
    ordered (k, …, k, C/G), for then neighbours stay neighbours.

    Patches that are not ``real``, (N, positions), are zero. A block is good until the next one is
    asked for.
    """
    windows = _windows(window, x)
    axes = len(window.kernel)
    features = prod(windows.shape[1 + axes :])
    block = max(BLOCK_NUMBERS // features, BLOCK_ROWS)
    work = x.new_empty(0)
    for examples, places in blocks(windows.shape[: 1 + axes], block):
        some = windows[examples, places]
        work = work if len(work) >= some.numel() else x.new_empty(some.numel())
        rows = work[: some.numel()].view(some.shape).copy_(some)
        known = None if real is None else real[examples, places].flatten()
        yield blank(rows.flatten(0, axes).flatten(2).transpose(0, 1), known, -1)


def mean_patches(window: Window, x: Tensor, real: Tensor | None = None) -> Tensor:
    """The mean over positions of each example's patches that are ``real``, (G, N, C/G·k·…·k), zero
    where there are none; features are ordered as the weight's.
    """
    windows, axes = _windows(window, x), len(window.kernel)
    if real is None:
        means = windows.mean(dim=tuple(range(1, 1 + axes)))
    else:
        each = zip(windows, real, strict=True)
        means = torch.stack([some[known].sum(0) / max(1, int(known.sum())) for some, known in each])
    return means.movedim(-1, 2).flatten(2).transpose(0, 1)


def padded(x: Tensor, padding: Sequence[tuple[int, int]]) -> Tensor:
    """X with zeros around; F.pad itself counts axes from the last."""
    sides = list(chain.from_iterable(reversed(padding)))
    around: Tensor = F.pad(x, sides) if any(sides) else x
    return around


def _windows(window: Window, x: Tensor) -> Tensor:
    """(N, positions…, G, kernel…, C/G), a view of the padded channels-last feature map."""
    places = window.positions(x.shape[2:])
    rows = padded(x, window.padding).movedim(1, -1).contiguous()
    maps: Tensor = rows.unflatten(-1, (window.groups, -1))
    example, *moves, group, channel = maps.stride()
    return maps.as_strided(
        (len(maps), *places, window.groups, *window.kernel, maps.shape[-1]),
        (
            example,
            *(m * s for m, s in zip(moves, window.stride, strict=True)),
            group,
            *(m * d for m, d in zip(moves, window.dilation, strict=True)),
            channel,
        ),
        maps.storage_offset(),
    )


def blocks(places: Sequence[int], most: int) -> Iterator[tuple[slice, slice]]:
    """Pieces of about so many places, split by example and then along the first position axis."""
    examples, first = places[:2]
    for some in _slices(examples, -(-prod(places) // most)):
        pieces = -(-(some.stop - some.start) * prod(places[1:]) // most)
        for place in _slices(first, pieces):
            yield some, place


def _slices(size: int, pieces: int) -> Iterator[slice]:
    """So many nearly equal parts of a range, at most one an item."""
    pieces = max(1, min(pieces, size))
    bounds = [size * i // pieces for i in range(pieces + 1)]
    return (slice(*ends) for ends in pairwise(bounds))

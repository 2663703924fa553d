"""The patch moment of a stride-1 convolution without the patches.

Let a patch be taken at every place p of the whole grid, with zeros outside the feature map. Then
the sum over p of x[c, p+δ] x[c', p+δ'] depends on the displacement Δ = δ'−δ only: it is the
autocorrelation D_Δ[c, c'] = Σ_q x[c, q] x[c', q+Δ]. With D_−Δ = D_Δᵀ, 13 of them make all 81 blocks
of a 3×3 kernel's matrix. The convolution itself has its patches in a box of places. Those in the
border around it, where a patch still meets the map, are few and are taken off again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import torch
from torch import Tensor

from condcli.capture.convolved import outer
from condcli.capture.patches import Window, blocks, padded
from condcli.capture.products import PIECE_ROWS

# For fewer channels a group than this, float32 on the CPU has a faster way than matrix products:
# the weight gradient of a convolution. Its rounding grows faster with the places that it sums.
FEW_CHANNELS = 192
CONVOLVED_PLACES = 8192


def extents(kernel: Sequence[int]) -> tuple[int, ...]:
    """How many displacements are kept along each axis: 0 … k−1, then −(k−1) … k−1."""
    first, *others = kernel
    return first, *(2 * k - 1 for k in others)


def displacements(kernel: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Those displacements, in order; of two that are opposite only the second is filled."""
    first, *others = kernel
    return product(range(first), *(range(1 - k, k) for k in others))


def add_autocorrelations(total: Tensor, window: Window, x: Tensor, scale: Tensor | None) -> None:
    """Add D for x of shape (N, C, …), by ``scale``, to (displacements, G, C/G, C/G).

    Products run over few enough places for x's own precision.
    """
    few = x.shape[1] // window.groups < FEW_CHANNELS
    if few and x.device.type == "cpu" and x.dtype == torch.float32:
        terms = iter([(slice(None), _by_convolution(window, x, total.dtype))])
    else:
        terms = _by_products(window, x)
    for where, term in terms:
        total[where] += term if scale is None else scale * term.to(total.dtype)


def _by_convolution(window: Window, x: Tensor, dtype: torch.dtype) -> Tensor:
    """As the gradient that the weight of a convolution of x would get if δ were x."""
    axes, channels = len(window.kernel), x.shape[1] // window.groups
    first, *others = window.reach
    weight = x.new_empty(x.shape[1], channels, *extents(window.kernel))
    total = torch.zeros(weight.shape, dtype=dtype)
    for examples, places in blocks((len(x), *x.shape[2:]), CONVOLVED_PLACES):
        some, end = x[examples], places.stop + first
        beyond = max(0, end - x.shape[2])
        met = padded(some[:, :, places.start : end], [(0, beyond), *((r, r) for r in others)])
        _, gradient, _ = torch.ops.aten.convolution_backward(
            some[:, :, places], met, weight, None, (1,) * axes, (0,) * axes, window.dilation,
            False, (0,) * axes, window.groups, (False, True, False),
        )  # fmt: skip
        total += gradient
    by_group: Tensor = total.flatten(2).unflatten(0, (window.groups, channels))
    return by_group.permute(3, 0, 1, 2)


def _by_products(window: Window, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """As matrix products of the places with the same places shifted, for one displacement each.

    The places lie in the order (first axis, N, other axes), each of the others followed by as many
    zeros as the kernel reaches: a displacement is then a shift of all places at once, and one along
    the first axis leaves out the last ones.
    """
    sizes, room = x.shape[2:], (0, *window.reach[1:])
    lengths = [n + r for n, r in zip(sizes, room, strict=True)]
    steps = [prod(lengths[axis + 1 :]) for axis in range(len(lengths))]
    slack = sum(r * step for r, step in zip(room, steps, strict=True))
    steps[0] *= len(x)
    places = x.new_zeros(sizes[0] * steps[0] + slack, x.shape[1])
    inner = places[: len(places) - slack].view(sizes[0], len(x), *lengths[1:], -1)
    for axis, size in enumerate(sizes[1:], start=2):
        inner = inner.narrow(axis, 0, size)
    inner.copy_(x.movedim(1, -1).transpose(0, 1))
    by_group = places.unflatten(1, (window.groups, -1)).transpose(0, 1)
    moves = [step * d for step, d in zip(steps, window.dilation, strict=True)]
    for i, displacement in enumerate(displacements(window.kernel)):
        shift = sum(move * n for move, n in zip(moves, displacement, strict=True))
        rows = sizes[0] * steps[0] - displacement[0] * moves[0]
        if shift >= 0 and rows > 0:  # of two that are opposite, one
            for term in _shifted_products(by_group, shift=shift, rows=rows):
                yield slice(i, i + 1), term


def _shifted_products(places: Tensor, *, shift: int, rows: int) -> Iterator[Tensor]:
    """Σ over some of the first rows of x_q x_{q+shift}ᵀ, for one some after the other."""
    here, there = places[:, :rows], places[:, shift : shift + rows]
    for a, b in zip(here.split(PIECE_ROWS, 1), there.split(PIECE_ROWS, 1), strict=True):
        yield outer(a[0], b[0]) if len(places) == 1 else a.mT @ b


Box = tuple[tuple[int, int], ...]  # (start, stop) along each axis of the kernel


@dataclass(frozen=True)
class Border:
    """Some places around the convolution's own, at which patches still meet the map."""

    window: Window  # with what of the kernel can meet it
    box: Box  # and where that is in the whole kernel
    axis: int
    start: int  # of the rows of the map along ``axis`` that they meet
    length: int

    def rows_of(self, x: Tensor) -> Tensor:
        """The part of the map that they meet."""
        return x.narrow(2 + self.axis, self.start, self.length)


def borders(window: Window, sizes: Sequence[int]) -> Iterator[Border]:
    """All the places outside the convolution's own, each in one border, for maps of these sizes.

    A place is in the border of the first axis along which it is outside.
    """
    around = [(r, r) for r in window.reach]
    whole = [(0, k) for k in window.kernel]
    for axis, place in _places_outside(window, sizes):
        step, size = window.dilation[axis], sizes[axis]
        steps = [n for n in range(window.kernel[axis]) if 0 <= place + n * step < size]
        if steps:
            kernel = [*window.kernel[:axis], len(steps), *window.kernel[axis + 1 :]]
            padding = [*window.padding[:axis], (0, 0), *around[axis + 1 :]]
            yield Border(
                window=replace(window, kernel=tuple(kernel), padding=tuple(padding)),
                box=(*whole[:axis], (steps[0], steps[-1] + 1), *whole[axis + 1 :]),
                axis=axis,
                start=place + steps[0] * step,
                length=step * (len(steps) - 1) + 1,
            )


def _places_outside(window: Window, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Each axis with the places outside along it, where a patch would begin in the map."""
    for axis, count in enumerate(window.positions(sizes)):
        first = -window.padding[axis][0]
        for place in (*range(-window.reach[axis], first), *range(first + count, sizes[axis])):
            yield axis, place

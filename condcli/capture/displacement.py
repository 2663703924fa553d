"""The autocorrelations of a feature map.

Let a patch be taken at every place p of the whole grid, with zeros outside the feature map. Then
the sum over p of x[c, p+δ] x[c', p+δ'] depends on the displacement Δ = δ'−δ only: it is the
autocorrelation D_Δ[c, c'] = Σ_q x[c, q] x[c', q+Δ]. With D_−Δ = D_Δᵀ, 13 of them make all 81 blocks
of a 3×3 kernel's matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor

from condcli.capture.convolved import add_outer, pays
from condcli.capture.moments import plus, sum_dtype, sum_of_rows
from condcli.capture.patches import Window, blocks, padded
from condcli.capture.products import PIECE_ROWS

# For fewer channels a group than this, float32 on the CPU has a faster way than matrix products:
# the weight gradient of a convolution. Its rounding grows with the places that it sums, and twice
# as fast with fewer channels than one vector has; of so many it stays below 3e-7.
FEW_CHANNELS = 192
VECTOR = 16
CONVOLVED_PLACES = PIECE_ROWS


def extents(kernel: Sequence[int]) -> tuple[int, ...]:
    """How many displacements are kept along each axis: 0 … k−1, then −(k−1) … k−1."""
    first, *others = kernel
    return first, *(2 * k - 1 for k in others)


def displacements(kernel: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Those displacements, in order; of two that are opposite only the second is filled."""
    first, *others = kernel
    return product(range(first), *(range(1 - k, k) for k in others))


def nowhere(kernel: Sequence[int]) -> int:
    """Which of them is zero."""
    return prod(extents(kernel)[1:]) // 2


class Autocorrelations:
    """Running sums over the places of maps: of x, and of x_q x_{q+Δ}ᵀ for each displacement Δ.

    As a ``Moment``'s they are summed in the maps' own precision as long as the places are few.
    """

    def __init__(self) -> None:
        self._sum: Tensor | None = None  # (G, C/G)
        self._products: Tensor | None = None  # (displacements, G, C/G, C/G)
        self._piece: Tensor | None = None  # the same, in the maps' dtype
        self._piece_places = 0

    def add(self, window: Window, x: Tensor, power: Tensor | None) -> None:
        """Take in x of shape (N, C, …), over ``power`` as ``scaled`` returns them."""
        rows = x.movedim(1, -1).flatten(0, -2).unflatten(1, (window.groups, -1)).transpose(0, 1)
        self._sum = plus(self._sum, sum_of_rows(rows, sum_dtype(x)), power)
        count, (groups, _, channels) = sum(1 for _ in displacements(window.kernel)), rows.shape
        scale = None if power is None else power**2
        if scale is not None:
            self._end_piece(None)

        def piece(places: int) -> Tensor:
            """What the products of so many more places can be added to."""
            if self._piece is None or self._piece_places + places > PIECE_ROWS:
                self._end_piece(scale)
                self._piece = x.new_zeros(count, groups, channels, channels)
            self._piece_places += places
            return self._piece

        few = channels < FEW_CHANNELS and count > 1
        if few and x.device.type == "cpu" and x.dtype == torch.float32:
            _add_by_convolution(window, x, piece)
        else:
            _add_by_products(window, x, piece)
        if scale is not None:
            self._end_piece(scale)

    def _end_piece(self, scale: Tensor | None) -> None:
        if self._piece is not None:
            self._products = plus(self._products, self._piece.to(sum_dtype(self._piece)), scale)
        self._piece, self._piece_places = None, 0

    def total(self) -> Tensor:
        """Σ x, (G, C/G), float64; not to be changed."""
        assert self._sum is not None
        return self._sum

    def products(self) -> Tensor:
        """Σ x_q x_{q+Δ}ᵀ, (displacements, G, C/G, C/G); not to be changed."""
        if self._products is not None:
            self._end_piece(None)
        found = self._piece if self._products is None else self._products
        assert found is not None
        return found


def _add_by_convolution(window: Window, x: Tensor, piece: Callable[[int], Tensor]) -> None:
    """As the gradient that the weight of a convolution of x would get if δ were x."""
    axes, channels = len(window.kernel), x.shape[1] // window.groups
    first, *others = window.reach
    weight = x.new_empty(x.shape[1], channels, *extents(window.kernel))
    most = CONVOLVED_PLACES if channels >= VECTOR else CONVOLVED_PLACES // 2
    for examples, places in blocks((len(x), *x.shape[2:]), most):
        some, end = x[examples], places.stop + first
        beyond = max(0, end - x.shape[2])
        met = padded(some[:, :, places.start : end], [(0, beyond), *((r, r) for r in others)])
        here = some[:, :, places]
        _, gradient, _ = torch.ops.aten.convolution_backward(
            here, met, weight, None, (1,) * axes, (0,) * axes, window.dilation,
            False, (0,) * axes, window.groups, (False, True, False),
        )  # fmt: skip
        by_group = gradient.flatten(2).unflatten(0, (window.groups, channels))
        piece(here.numel() // x.shape[1]).add_(by_group.permute(3, 0, 1, 2))


def _add_by_products(window: Window, x: Tensor, piece: Callable[[int], Tensor]) -> None:
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
    whole = sizes[0] * steps[0]
    for start in range(0, whole, PIECE_ROWS):
        stop = min(start + PIECE_ROWS, whole)
        total = piece(stop - start)
        for i, displacement in enumerate(displacements(window.kernel)):
            shift = sum(move * n for move, n in zip(moves, displacement, strict=True))
            end = min(stop, whole - displacement[0] * moves[0])
            if shift >= 0 and end > start:  # of two that are opposite, one
                here, there = by_group[:, start:end], by_group[:, start + shift : end + shift]
                _add_products(total[i], here, there)


def _add_products(total: Tensor, here: Tensor, there: Tensor) -> None:
    """Add Σ x_q x_{q+Δ}ᵀ over rows (G, n, C/G) of the places q and q+Δ to (G, C/G, C/G)."""
    if len(total) == 1 or pays(here[0], total.shape[2]):
        for group, a, b in zip(total, here, there, strict=True):
            add_outer(group, a, b)
    else:
        total.baddbmm_(here.mT, there)

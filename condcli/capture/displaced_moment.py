"""The second moment of a stride-1 convolution's patches, from autocorrelations of its maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from condcli.capture.displacement import Autocorrelations, displacements, nowhere
from condcli.capture.faces import Box, free_axes, side_by_side
from condcli.capture.moments import is_told
from condcli.capture.patches import Window

EXACT_TO = 16  # roundings of a sum, at most, by which the two ways to it differ


class DisplacedMoment:
    """Running sums of what makes up a moment of patches that are never copied out."""

    def __init__(self, kernel: tuple[int, ...]) -> None:
        self.rows = 0
        self.dtype = torch.float64  # of the rows
        self._kernel = kernel
        # Of the maps of faces, those that are side by side as groups of one.
        self._maps: dict[tuple[Box, ...], Autocorrelations] = {}

    def add(self, window: Window, x: Tensor, power: Tensor | None) -> None:
        """Take in the patches of x, (N, C, …)."""
        self.rows += len(x) * prod(window.positions(x.shape[2:]))
        self.dtype = x.dtype
        for boxes, within, maps in side_by_side(window, x):
            self._maps.setdefault(boxes, Autocorrelations(within.kernel)).add(within, maps, power)

    def sums_of_rows(self) -> list[Tensor]:
        """That over the places of the maps, (G, C/G); none at first."""
        return [self._everywhere.total()] if self._maps else []

    def is_finite(self) -> bool:
        """Whether no place held NaN or infinity: each is in its own autocorrelation."""
        return not self._maps or bool(self._everywhere.products().sum().isfinite())

    def sums(self) -> tuple[Tensor, Tensor]:
        """Sums over the patches of x, (G, d), and of x xᵀ, (G, d, d), in float64."""
        total = self.total()
        groups, places, channels = total.shape
        outer = total.new_empty(groups, places, channels, places, channels)
        self._write(outer, rows=1)
        return total.flatten(1), outer.flatten(3).flatten(1, 2)

    def second(self) -> Tensor:
        """The mean of x xᵀ, (d, d) or (G, d, d), as ``Moment`` has it, in the weight's order.

        Nothing as large is made on the way: these matrices are the largest of all.
        """
        total, still = self.total(), self._still()
        groups, places, channels = total.shape
        told = is_told(float(still.max()) / self.rows)
        dtype = self.dtype if told else total.dtype
        second = total.new_empty(groups, channels, places, channels, places, dtype=dtype)
        self._write(second.permute(0, 2, 1, 4, 3), rows=self.rows)
        matrix = second.flatten(3).flatten(1, 2).cpu()
        return matrix[0] if groups == 1 else matrix

    def total(self) -> Tensor:
        """The sum over the patches of x, (G, places of the kernel, C/G)."""
        groups, channels = self._everywhere.total().shape
        total = self._everywhere.total().new_zeros(groups, prod(self._kernel), channels)
        for sign, taps, sums, _ in self._each_face():
            rows = sums.unflatten(1, (-1, channels))
            for tap in taps:
                total[:, tap.place] += sign * rows[:, tap.row]
        return total

    @property
    def _everywhere(self) -> Autocorrelations:
        """Those over the whole grid."""
        return self._maps[(tuple((0, k) for k in self._kernel),)]

    def _each_face(self) -> Iterator[tuple[int, list[Tap], Tensor, Tensor]]:
        """Whether it is added, 1, or taken off, −1; what of the kernel is in it; its sums of x and
        of products.
        """
        for boxes, maps in self._maps.items():
            totals = maps.total().chunk(len(boxes))
            products = maps.products().chunk(len(boxes), dim=1)
            for box, total, each in zip(boxes, totals, products, strict=True):
                fixed = len(box) - len(free_axes(box, self._kernel))
                yield (-1) ** fixed, _taps(box, self._kernel), total, each

    def _write(self, outer: Tensor, *, rows: int) -> None:
        """Fill (G, places, C/G, places, C/G), of any strides, with the outer sums over ``rows``."""
        channels = outer.shape[-1]
        faces = [
            (sign, taps, products.unflatten(3, (-1, channels)).unflatten(2, (-1, channels)))
            for sign, taps, _, products in self._each_face()
        ]
        like = self._everywhere.total()
        for place in range(outer.shape[1]):
            row = like.new_zeros(len(outer), outer.shape[3], channels, channels)
            for sign, taps, products in faces:
                for tap in taps:
                    if tap.place == place:
                        _add_beside(row, tap, taps, products, sign)
            outer[:, place] = row.div_(rows).transpose(1, 2)
        self._blank_the_dead(outer, rows=rows)

    def _still(self) -> Tensor:
        """Σ x² over all places of the grid, (G, C/G)."""
        squares = self._everywhere.products()[nowhere(self._kernel)]
        return squares.diagonal(dim1=1, dim2=2).to(self._everywhere.total().dtype)

    def _blank_the_dead(self, outer: Tensor, *, rows: int) -> None:
        """Make zero what is none but for rounding: of inputs that only the border has seen."""
        squares = (self._still() / rows).unsqueeze(1).expand(outer.shape[:3])
        rounding = EXACT_TO * torch.finfo(self.dtype).eps
        diagonals = outer.diagonal(dim1=1, dim2=3).diagonal(dim1=1, dim2=2)
        for matrix, square, diagonal in zip(outer, squares, diagonals, strict=True):
            size = square.sqrt()
            place, channel = (diagonal <= rounding * square).nonzero(as_tuple=True)
            bound = rounding * size[place, channel, None, None] * size
            dead = (matrix[place, channel].abs() <= bound).flatten(1).all(1)
            matrix[place[dead], channel[dead]] = 0
            matrix[:, :, place[dead], channel[dead]] = 0


class Tap(NamedTuple):
    """One place of the kernel, in a face."""

    place: int  # its number in the kernel
    row: int  # of the rows that the face's map has side by side, the one that it meets
    free: tuple[int, ...]  # where it is along the other axes


def _taps(box: Box, kernel: Sequence[int]) -> list[Tap]:
    """Those of the kernel that are in a box, in order."""
    free = free_axes(box, kernel)
    fixed = [axis for axis in range(len(box)) if axis not in free]
    places = {at: number for number, at in enumerate(product(*map(range, kernel)))}
    met = product(*(range(*box[axis]) for axis in fixed))
    rows = {at: number for number, at in enumerate(met)}
    return [
        Tap(
            place=places[at],
            row=rows[tuple(at[axis] for axis in fixed)],
            free=tuple(at[axis] for axis in free) or (0,),
        )
        for at in product(*(range(*ends) for ends in box))
    ]


def _add_beside(row: Tensor, tap: Tap, taps: list[Tap], products: Tensor, sign: int) -> None:
    """Add Σ x[tap] x[other]ᵀ by sign for each of the others to (G, places, C/G, C/G)."""
    kernel = tuple(n + 1 for n in taps[-1].free)
    order = {displacement: i for i, displacement in enumerate(displacements(kernel))}
    for other in taps:
        first, second = sorted((tap, other), key=lambda each: each.free)
        moved = tuple(b - a for a, b in zip(first.free, second.free, strict=True))
        block = products[order[moved], :, first.row, :, second.row]
        row[:, other.place].add_(block if first is tap else block.mT, alpha=sign)

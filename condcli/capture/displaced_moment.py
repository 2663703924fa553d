"""The second moment of a stride-1 convolution's patches, from autocorrelations of its maps."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

from condcli.capture.displacement import Autocorrelations, nowhere
from condcli.capture.face_sums import FaceSums
from condcli.capture.faces import Box, side_by_side
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
            self._maps.setdefault(boxes, Autocorrelations()).add(within, maps, power)

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
        for face in self._faces():
            face.add_total(total)
        return total

    @property
    def _everywhere(self) -> Autocorrelations:
        """Those over the whole grid."""
        return self._maps[(tuple((0, k) for k in self._kernel),)]

    def _faces(self) -> Iterator[FaceSums]:
        groups = len(self._everywhere.total())
        for boxes, maps in self._maps.items():
            for number, box in enumerate(boxes):
                own = slice(number * groups, (number + 1) * groups)
                yield FaceSums(box, self._kernel, maps, own)

    def _write(self, outer: Tensor, *, rows: int) -> None:
        """Fill (G, places, C/G, places, C/G), of any strides, with the outer sums over ``rows``."""
        channels, like = outer.shape[-1], self._everywhere.total()
        faces = [(face, face.products(channels)) for face in self._faces()]
        row = outer.new_empty(len(outer), outer.shape[1], channels, channels)
        for place in range(outer.shape[1]):
            for other in range(outer.shape[1]):
                block = like.new_zeros(len(outer), channels, channels)
                for face, products in faces:
                    face.add_block(block, place, other, products)
                torch.div(block, rows, out=row[:, other])
            outer[:, place] = row.transpose(1, 2)  # all others at once: they lie side by side
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

"""The second moment of a convolution's patches, by whichever way is cheaper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from math import prod

import torch
from torch import Tensor

from condcli.capture.convolution import Convolution
from condcli.capture.displacement import (
    Border,
    Box,
    add_autocorrelations,
    borders,
    displacements,
)
from condcli.capture.moments import Moment, is_told, plus, sum_dtype, sum_of_rows
from condcli.capture.patches import Window, patch_rows
from condcli.capture.products import WIDE

# The cost of copying out a number of a patch, in multiplications of a matrix product, and the
# part of a product with itself that symmetry leaves.
COPY, HALF = 30, 0.65
EXACT_TO = 16  # roundings of a sum, at most, by which the two ways to it differ
FEWEST_CHANNELS = 16  # a product of fewer columns takes as long


class PatchMoment:
    """Running sums over the patches of a convolution's input."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._copied = Moment()
        self._displaced: DisplacedMoment | None = None
        self._shape = shape  # of a patch's features: (places in it, C/G)

    @property
    def rows(self) -> int:
        """How many patches there were."""
        return self._copied.rows + (self._displaced.rows if self._displaced else 0)

    def leave_out(self, rows: Tensor | int) -> None:
        """So many of the patches that are taken in do not count."""
        self._copied.leave_out(rows)

    @torch.no_grad()
    def add(
        self, convolution: Convolution, x: Tensor, power: Tensor | None, real: Tensor | None
    ) -> None:
        """Take in the patches of x, (N, C, …), over ``power`` as ``scaled`` returns them."""
        window, x = convolution.window(x)
        if real is None and displacement_pays(window, x):
            self._displaced = self._displaced or DisplacedMoment(window.kernel)
            self._displaced.add(window, x, power)
        else:
            for rows in patch_rows(window, x, real):
                self._copied.add(rows, power)

    def settled(self) -> Moment:
        """The same sums in one plain moment; features still ordered (k, …, k, C/G)."""
        if self._displaced is not None:
            done = self._displaced
            self._copied.include(*done.sums(), rows=done.rows, dtype=done.dtype)
            self._displaced = None
        return self._copied

    def sums_of_rows(self) -> list[Tensor]:
        """Those over patches, and over the places of maps, whichever there are."""
        displaced = self._displaced.sums_of_rows() if self._displaced else []
        return self._copied.sums_of_rows() + displaced

    def running_sums(self) -> list[Tensor]:
        """As a plain moment's."""
        return self.settled().running_sums()

    def replace(self, rows: int, sums: list[Tensor]) -> None:
        """Have seen so many patches, with these ``sums``."""
        self.settled().replace(rows, sums)

    def is_finite(self) -> bool:
        """Whether no patch held NaN or infinity."""
        displaced = self._displaced is None or self._displaced.is_finite()
        return displaced and self._copied.is_finite()

    def mean(self) -> Tensor:
        """Mean over patches of x, (G·d,), features ordered as the weight's, (C/G, k, …, k)."""
        if self._displaced is not None and not self._copied.rows:
            total = self._displaced.total() / self.rows
            return total.transpose(1, 2).flatten().cpu().double()
        mean: Tensor = self.settled().mean().unflatten(0, (-1, *self._shape))
        return mean.transpose(1, 2).flatten()

    def second(self) -> Tensor:
        """Mean over patches of x xᵀ, (d, d) or (G, d, d), features ordered as the weight's."""
        if self._displaced is not None and not self._copied.rows:
            return self._displaced.second()
        second = self.settled().second()
        matrix: Tensor = second.unflatten(-1, self._shape).unflatten(-3, self._shape)
        return matrix.transpose(-1, -2).transpose(-3, -4).flatten(-2).flatten(-3, -2)


class DisplacedMoment:
    """Running sums of what makes up a moment of patches that are never copied out."""

    def __init__(self, kernel: tuple[int, ...]) -> None:
        self.rows = 0
        self.dtype = torch.float64  # of the rows
        self._kernel = kernel
        self._correlations: Tensor | None = None  # (displacements, G, C/G, C/G)
        self._sum: Tensor | None = None  # (G, C/G), over the places of the maps
        self._borders: dict[tuple[Box, ...], Moment] = {}  # of those that run side by side

    def add(self, window: Window, x: Tensor, power: Tensor | None) -> None:
        """Take in the patches of x, (N, C, …)."""
        self.rows += len(x) * prod(window.positions(x.shape[2:]))
        self.dtype, dtype = x.dtype, sum_dtype(x)
        places: Tensor = x.movedim(1, -1).flatten(0, -2).unflatten(1, (window.groups, -1))
        self._sum = plus(self._sum, sum_of_rows(places.transpose(0, 1), dtype), power)
        if self._correlations is None:
            shape = (sum(1 for _ in displacements(window.kernel)), *places.shape[1:])
            self._correlations = x.new_zeros(*shape, shape[-1], dtype=dtype)
        square = None if power is None else power**2
        add_autocorrelations(self._correlations, window, x, square)
        for around, some in _side_by_side(window, x):
            moment = self._borders.setdefault(tuple(border.box for border in some), Moment())
            for rows in patch_rows(around, torch.cat([border.rows_of(x) for border in some], 1)):
                moment.add(rows, power)

    def sums_of_rows(self) -> list[Tensor]:
        """That over the places of the maps, (G, C/G); none at first."""
        return [] if self._sum is None else [self._sum]

    def is_finite(self) -> bool:
        """Whether no place held NaN or infinity: each is in its own autocorrelation."""
        return self._correlations is None or bool(self._correlations.sum().isfinite())

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
        assert self._sum is not None
        groups, channels = self._sum.shape
        total = self._sum.unsqueeze(1).repeat(1, prod(self._kernel), 1)
        for members, border in self._each_border(lambda moment: moment.running_sums()[0]):
            total[:, members] -= border.view(groups, -1, channels)
        return total

    def _write(self, outer: Tensor, *, rows: int) -> None:
        """Fill (G, places, C/G, places, C/G), of any strides, with the outer sums over ``rows``."""
        channels = outer.shape[-1]
        taken_off = [
            (members, border.unflatten(2, (-1, channels)).unflatten(1, (-1, channels)))
            for members, border in self._each_border(lambda moment: moment.sums()[1])
        ]
        for place in range(outer.shape[1]):
            row = self._everywhere(place)
            for members, border in taken_off:
                if place in members:
                    row[:, :, members] -= border[:, members.index(place)]
            outer[:, place] = row.div_(rows)
        self._blank_the_dead(outer, rows=rows)

    def _each_border(self, sums: Callable[[Moment], Tensor]) -> Iterator[tuple[list[int], Tensor]]:
        """The places of the kernel that are in it, and its ``sums``, (G, …)."""
        for boxes, moment in self._borders.items():
            for box, border in zip(boxes, sums(moment).chunk(len(boxes)), strict=True):
                yield _members(box, self._kernel), border

    def _everywhere(self, place: int) -> Tensor:
        """Σ x[place] xᵀ over all places of the grid, (G, C/G, places of the kernel, C/G)."""
        assert self._correlations is not None
        order = {displacement: i for i, displacement in enumerate(displacements(self._kernel))}
        corners = list(product(*(range(k) for k in self._kernel)))
        found = []
        for other in range(len(corners)):
            first, second = (corners[i] for i in sorted((place, other)))
            block = self._correlations[
                order[tuple(b - a for a, b in zip(first, second, strict=True))]
            ]
            found.append(block if place <= other else block.mT)
        return torch.stack(found, dim=2)

    def _still(self) -> Tensor:
        """Σ x² over all places of the grid, (G, C/G)."""
        assert self._correlations is not None
        nowhere = tuple(0 for _ in self._kernel)
        squares = self._correlations[list(displacements(self._kernel)).index(nowhere)]
        return squares.diagonal(dim1=1, dim2=2)

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


def _members(box: Box, kernel: tuple[int, ...]) -> list[int]:
    """The places of the kernel, by number, that are in a box."""
    inside = torch.arange(prod(kernel)).view(kernel)[tuple(slice(*ends) for ends in box)]
    return inside.flatten().tolist()


def _side_by_side(window: Window, x: Tensor) -> Iterator[tuple[Window, list[Border]]]:
    """The borders of x, those that are alike together, with the window that they have as groups.

    Small ones take as long as their number of calls; a ``WIDE`` product gains nothing.
    """
    alike: dict[tuple[Window, int], list[Border]] = {}
    for number, border in enumerate(borders(window, x.shape[2:])):
        features = prod(border.window.kernel) * x.shape[1] // window.groups
        alike.setdefault((border.window, number if features >= WIDE else -1), []).append(border)
    for (around, _), some in alike.items():
        yield replace(around, groups=len(some) * window.groups), some


def displacement_pays(window: Window, x: Tensor) -> bool:
    """Whether autocorrelations and borders take less time than copying the patches out."""
    sizes = x.shape[2:]
    small = any(n <= reach for n, reach in zip(sizes, window.reach, strict=True))
    if small or any(s > 1 for s in window.stride) or prod(window.kernel) == 1:
        return False  # in a small map the border is all that there is
    channels = x.shape[1] // window.groups
    shifts = sum(1 for _ in displacements(window.kernel)) * prod(sizes)
    displaced = shifts * max(channels, FEWEST_CHANNELS) ** 2 + sum(
        _copied_cost(border.window, border.rows_of(x)) for border in borders(window, sizes)
    )
    return displaced < _copied_cost(window, x)


def _copied_cost(window: Window, x: Tensor) -> float:
    """Of the patches of one example and group, in multiplications."""
    features = prod(window.kernel) * x.shape[1] // window.groups
    return prod(window.positions(x.shape[2:])) * features * (HALF * features + COPY)

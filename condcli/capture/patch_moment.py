"""The second moment of a convolution's patches, by whichever way is cheaper."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from condcli.capture.convolution import Convolution
from condcli.capture.displaced_moment import DisplacedMoment
from condcli.capture.displacement import displacements
from condcli.capture.faces import Face, faces
from condcli.capture.moments import Moment
from condcli.capture.patches import Window, patch_rows

# The cost of copying out a number of a patch, in multiplications of a matrix product, and the
# part of a product with itself that symmetry leaves.
COPY, HALF = 30, 0.65
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


def displacement_pays(window: Window, x: Tensor) -> bool:
    """Whether autocorrelations take less time than copying the patches out."""
    return _pays(window, x.shape[1] // window.groups, x.shape[2:])


@lru_cache
def _pays(window: Window, channels: int, sizes: tuple[int, ...]) -> bool:
    small = any(n <= reach for n, reach in zip(sizes, window.reach, strict=True))
    if small or any(s > 1 for s in window.stride) or prod(window.kernel) == 1:
        return False  # in a small map the border is all that there is
    features = prod(window.kernel) * channels
    copied = prod(window.positions(sizes)) * features * (HALF * features + COPY)
    return sum(_cost(face, channels) for face in faces(window, sizes)) < copied


def _cost(face: Face, channels: int) -> int:
    """Of the autocorrelations of one example and group, in multiplications."""
    columns = max(face.features * channels, FEWEST_CHANNELS)
    return sum(1 for _ in displacements(face.window.kernel)) * face.places * columns**2

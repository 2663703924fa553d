"""What one face adds to the sums over a convolution's patches."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from torch import Tensor

from condcli.capture.displacement import Autocorrelations, displacements, nowhere
from condcli.capture.faces import Box, free_axes
from condcli.capture.products import make_symmetric


class Tap(NamedTuple):
    """Where a place of the kernel is in a face."""

    row: int  # of the rows that the face's map has side by side, the one that it meets
    free: tuple[int, ...]  # its own place along the other axes


class FaceSums:
    """The sums over one face's patches, by places of the kernel.

    They are in ``groups`` of the sums over ``maps``, which has other faces' beside them.
    """

    def __init__(
        self, box: Box, kernel: tuple[int, ...], maps: Autocorrelations, groups: slice
    ) -> None:
        free = free_axes(box, kernel)
        fixed = [axis for axis in range(len(box)) if axis not in free]
        self.taps: dict[int, Tap] = {}  # by number of the place
        rows = list(product(*(range(*box[axis]) for axis in fixed)))
        for place, at in enumerate(product(*map(range, kernel))):
            if all(start <= n < stop for n, (start, stop) in zip(at, box, strict=True)):
                row = rows.index(tuple(at[axis] for axis in fixed))
                self.taps[place] = Tap(row, tuple(at[axis] for axis in free) or (0,))
        self._sign = -1 if len(fixed) % 2 else 1  # of inclusion and exclusion
        self._kernel = tuple(kernel[axis] for axis in free) or (1,)
        self._order = {moved: i for i, moved in enumerate(displacements(self._kernel))}
        self._maps, self._groups = maps, groups

    def add_total(self, total: Tensor) -> None:
        """Add Σ x to (G, places of the kernel, C/G)."""
        rows = self._maps.total()[self._groups].unflatten(1, (-1, total.shape[2]))
        for place, tap in self.taps.items():
            total[:, place].add_(rows[:, tap.row], alpha=self._sign)

    def products(self, channels: int) -> Tensor:
        """Σ x_q x_{q+Δ}ᵀ, (displacements, G, rows, C/G, rows, C/G), symmetric where Δ = 0."""
        products = self._maps.products()[:, self._groups]
        make_symmetric(products[nowhere(self._kernel)])
        apart: Tensor = products.unflatten(3, (-1, channels)).unflatten(2, (-1, channels))
        return apart

    def add_block(self, block: Tensor, place: int, other: int, products: Tensor) -> None:
        """Add Σ x[place] x[other]ᵀ, (G, C/G, C/G), where the face has both, from its products."""
        if place in self.taps and other in self.taps:
            here, there = self.taps[place], self.taps[other]
            first, second = (here, there) if here.free <= there.free else (there, here)
            moved = tuple(b - a for a, b in zip(first.free, second.free, strict=True))
            found = products[self._order[moved], :, first.row, :, second.row]
            block.add_(found if first is here else found.mT, alpha=self._sign)

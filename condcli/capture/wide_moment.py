"""The second moment of rows that are too long for a matrix of their own.

Few rows are kept: they are a factor of their moment, from which its spectrum comes exactly. Of
many, a sketch is summed instead, some hundred numbers for each feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from condcli.capture.large_pages import kept_copy
from condcli.capture.moments import is_told, moderated, plus, sum_dtype, sum_of_rows
from condcli.capture.nystrom import columns_of, gaussian, nystrom
from condcli.capture.products import PIECE_ROWS
from condcli.stats import FloatArray


@dataclass(frozen=True, kw_only=True)
class Factor:
    """What stands for a moment, as in `LayerStats`."""

    rows: FloatArray  # F, (k, d) or (G, k, d)
    error: float  # a bound of ‖Σ - FᵀF‖₂; 0 where they are equal
    trace: float  # of Σ, all groups together


class WideMoment:
    """At most ``max_dim`` rows, kept, or else running sums of x and of x xᵀ Ω.

    One that is ``sketched`` keeps none: there will be more. The features of a ``patch`` come
    ordered (places, channels), and go in the order of the weight's, (channels, places).
    """

    def __init__(
        self, max_dim: int, *, sketched: bool, patch: tuple[int, int] | None = None
    ) -> None:
        self._max_dim = max_dim
        self._patch = patch
        self._seen = 0
        self._left_out: Tensor | int = 0
        self._dtype = torch.float64  # of the rows
        self._kept: list[Tensor] | None = None if sketched else []  # each (G, n, d)
        self._sum: Tensor | None = None  # (G, d)
        self._products: Tensor | None = None  # Σ x xᵀ Ω, (G, d, columns of Ω)
        self._squares: Tensor | None = None  # Σ |x|², (G,)
        self._piece: Tensor | None = None  # of the products, in the rows' dtype
        self._piece_rows = 0

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return self._seen - int(self._left_out)

    def leave_out(self, rows: Tensor | int) -> None:
        """So many of the rows that are taken in do not count."""
        self._left_out = self._left_out + rows

    @torch.no_grad()
    def take(self, rows: Tensor) -> None:
        """Take in rows of shape (G, n, d) and of any size."""
        self._seen += rows.shape[1]
        self._dtype = rows.dtype
        self._sum = plus(self._sum, sum_of_rows(rows, sum_dtype(rows)), None)
        if self._kept is not None and self._seen <= self._max_dim:
            self._kept.append(kept_copy(rows))
            return
        self._project_kept()
        self._project(rows)

    def _project_kept(self) -> None:
        kept, self._kept = self._kept or [], None
        while kept:
            self._project(kept.pop(0))

    def _project(self, rows: Tensor) -> None:
        rows, power = moderated(rows)
        self._squares = plus(self._squares, _squares(rows), None if power is None else power**2)
        omega = self._omega(rows)
        for piece in rows.split(PIECE_ROWS, dim=1):
            self._add(piece, omega, power)

    def _add(self, rows: Tensor, omega: Tensor, power: Tensor | None) -> None:
        """Products in the rows' own precision, of so many rows at a time, as all moments have."""
        if (
            self._piece is None
            or self._piece_rows + rows.shape[1] > PIECE_ROWS
            or power is not None
        ):
            self._end_piece(None)
            self._piece = rows.new_zeros(len(rows), *omega.shape)
        self._piece.baddbmm_(rows.mT, rows @ omega)
        self._piece_rows += rows.shape[1]
        if power is not None:
            self._end_piece(power**2)

    def _end_piece(self, scale: Tensor | None) -> None:
        if self._piece is not None:
            piece = self._piece.to(sum_dtype(self._piece))
            self._products = plus(self._products, piece, scale)
        self._piece, self._piece_rows = None, 0

    def _omega(self, rows: Tensor) -> Tensor:
        return gaussian(rows.shape[-1], sum(columns_of(self._max_dim)), rows.dtype, rows.device)

    def sums_of_rows(self) -> list[Tensor]:
        """That of x, (G, d), not to be changed; none at first."""
        return [] if self._sum is None else [self._sum]

    @torch.no_grad()
    def running_sums(self) -> list[Tensor]:
        """Those of x, x xᵀ Ω and |x|², which add up where rows that are kept do not."""
        self._project_kept()
        self._end_piece(None)
        sums = (self._sum, self._products, self._squares)
        return [total for total in sums if total is not None]

    def replace(self, rows: int, sums: list[Tensor]) -> None:
        """Have seen so many rows, with these ``sums``."""
        self._seen, self._left_out, self._kept = rows, 0, None
        self._sum, self._products, self._squares = sums

    def is_finite(self) -> bool:
        """Whether no row held NaN or infinity."""
        sums = [*(self._kept or ()), self._products, self._piece]
        return all(bool(s.sum(dtype=sum_dtype(s)).isfinite()) for s in sums if s is not None)

    def mean(self) -> Tensor:
        """Mean over rows of x, (G·d,), float64 on the CPU."""
        assert self._sum is not None
        return self._in_order(self._sum.cpu().double() / self.rows).flatten()

    @torch.no_grad()
    def factor(self) -> Factor:
        """What stands for the mean over rows of x xᵀ; F in the rows' own precision, as far as that
        can tell its numbers.
        """
        if self._kept is not None:
            parts, error = self._kept, 0.0
            squares = sum(float(_squares(part).sum()) for part in parts)
        else:
            sketch, error, squares = self._sketched()
            parts = [sketch]
        trace = squares / self.rows
        dtype = self._dtype if is_told(trace) else torch.float64
        rows = self._joined(parts, dtype).div_(self.rows**0.5)
        return Factor(
            rows=(rows[0] if len(rows) == 1 else rows).numpy(),
            error=error / self.rows,
            trace=trace,
        )

    def _sketched(self) -> tuple[Tensor, float, float]:
        """F of the sum over rows, (G, k, d), with zeros where a group has fewer; the largest error
        of all groups; the sum of all squares.
        """
        _, products, squares = (total.cpu().double() for total in self.running_sums())
        eps, tests = torch.finfo(self._dtype).eps, columns_of(self._max_dim)[1]
        omega = self._omega(products.mT)
        found = [nystrom(each, omega, tests, eps) for each in products]
        factors = products.new_zeros(len(found), max(len(f) for f, _ in found), products.shape[1])
        for factor, (own, _) in zip(factors, found, strict=True):
            factor[: len(own)] = own
        return factors, float(np.max([error for _, error in found])), float(squares.sum())

    def _joined(self, parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """All rows of parts (G, n, d), one after the other, on the CPU; none is copied twice."""
        groups, _, size = parts[0].shape
        counts = [part.shape[1] for part in parts]
        joined = torch.empty(groups, sum(counts), size, dtype=dtype)
        for place, part in zip(joined.split(counts, dim=1), parts, strict=True):
            place.copy_(self._in_order(part))
        return joined

    def _in_order(self, rows: Tensor) -> Tensor:
        """The features, along the last axis, in the order of the weight's."""
        if self._patch is None:
            return rows
        features: Tensor = rows.unflatten(-1, self._patch)
        return features.transpose(-1, -2).flatten(-2)


def _squares(rows: Tensor) -> Tensor:
    """Σ |x|² over rows (G, n, d), (G,)."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=(1, 2), dtype=sum_dtype(rows))
    return norms**2

"""Second moments, summed as rows stream by."""

from __future__ import annotations

import torch
from torch import Tensor

from condcli.capture.products import (
    PART_ROWS,
    PIECE_ROWS,
    WIDE,
    add_outer_of_wide,
    make_symmetric,
    outer_of_narrow,
)

# The squares of such numbers, and of those that count beside them, are well inside float32.
MODERATE = (2.0**-30, 2.0**30)


class Moment:
    """Running sums of x and x xᵀ over rows, the products in the rows' own precision.

    They are summed in float64, for matrices from ``WIDE`` on in pieces of ``PIECE_ROWS`` rows: one
    that has seen no more than those never needs a matrix of doubles.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._left_out: Tensor | int = 0
        self._dtype = torch.float64  # of the rows
        self._sum: Tensor | None = None  # (G, d)
        self._outer: Tensor | None = None  # (G, d, d); on and above the diagonal
        self._piece: Tensor | None = None  # (d, d), in the rows' dtype
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
        """Take in rows of shape (G, n, d) and of any size; that of narrow ones tells the trace."""
        if _is_narrow(rows) and rows.device.type == "cpu":
            outer = outer_of_narrow(rows, sum_dtype(rows))
            if is_told(float(outer.diagonal(dim1=1, dim2=2).sum())):
                return self._include_rows(rows, outer, None)
        self.add(*moderated(rows))

    @torch.no_grad()
    def add(self, rows: Tensor, power: Tensor | None) -> None:
        """Take in rows of shape (G, n, d), over ``power`` as ``scaled`` returns them."""
        if _is_narrow(rows):
            return self._include_rows(rows, outer_of_narrow(rows, sum_dtype(rows)), power)
        self._include_rows(rows, None, power)
        for piece in rows[0].split(PIECE_ROWS):
            self._add_wide(piece, power)

    def _include_rows(self, rows: Tensor, outer: Tensor | None, power: Tensor | None) -> None:
        self._seen += rows.shape[1]
        self._dtype = rows.dtype
        self._sum = plus(self._sum, sum_of_rows(rows, sum_dtype(rows)), power)
        if outer is not None:
            self._outer = plus(self._outer, outer, None if power is None else power**2)

    def _add_wide(self, rows: Tensor, power: Tensor | None) -> None:
        if self._piece is None or self._piece_rows + len(rows) > PIECE_ROWS or power is not None:
            self._end_piece(None)
            self._piece = rows.new_zeros(rows.shape[1], rows.shape[1])
        add_outer_of_wide(self._piece, rows)
        self._piece_rows += len(rows)
        if power is not None:
            self._end_piece(power**2)

    def _end_piece(self, scale: Tensor | None) -> None:
        if self._piece is not None:
            piece = self._piece.unsqueeze(0)
            self._outer = plus(self._outer, piece.to(sum_dtype(piece)), scale)
        self._piece, self._piece_rows = None, 0

    def sums_of_rows(self) -> list[Tensor]:
        """That of x, (G, d), not to be changed; none at first."""
        return [] if self._sum is None else [self._sum]

    def running_sums(self) -> list[Tensor]:
        """Those of x, (G, d), and x xᵀ, (G, d, d), right as far as the diagonal; none at first."""
        self._end_piece(None)
        return [sums for sums in (self._sum, self._outer) if sums is not None]

    def replace(self, rows: int, sums: list[Tensor]) -> None:
        """Have seen so many rows, with these ``sums``."""
        self._seen, self._left_out = rows, 0
        self._sum, self._outer = sums

    def is_finite(self) -> bool:
        """Whether no row held NaN or infinity; a sum over all entries has them, too."""
        sums = (s for s in (self._outer, self._piece) if s is not None)
        return all(bool(s.sum().isfinite()) for s in sums)

    def mean(self) -> Tensor:
        """Mean over rows of x, (G·d,), float64 on the CPU."""
        assert self._sum is not None
        return self._sum.flatten().cpu().double() / self.rows

    def second(self) -> Tensor:
        """Mean over rows of x xᵀ, exactly symmetric, (d, d) or (G, d, d), on the CPU.

        In the rows' own precision, where its numbers can be told in that.
        """
        if self._outer is None and self._piece is not None:
            outer = self._piece.unsqueeze(0)
            make_symmetric(outer)
        else:
            outer = self.sums()[1]
        outer, largest = outer.cpu(), float(outer.max()) / self.rows
        dtype = self._dtype if is_told(largest) else torch.float64
        mean = torch.empty_like(outer, dtype=dtype)
        torch.div(outer, self.rows, out=mean)
        return mean[0] if mean.shape[0] == 1 else mean

    def sums(self) -> tuple[Tensor, Tensor]:
        """The sums over all rows of x, (G, d), and of x xᵀ, (G, d, d), float64."""
        self._end_piece(None)
        assert self._sum is not None
        assert self._outer is not None
        make_symmetric(self._outer)
        return self._sum, self._outer

    def include(self, total: Tensor, outer: Tensor, *, rows: int, dtype: torch.dtype) -> None:
        """Take in the sums of rows of this dtype that were summed another way."""
        self._seen += rows
        self._dtype = dtype
        self._sum = plus(self._sum, total, None)
        self._outer = plus(self._outer, outer, None)


def _is_narrow(rows: Tensor) -> bool:
    return rows.shape[0] > 1 or rows.shape[2] < WIDE


def plus(total: Tensor | None, term: Tensor, scale: Tensor | None) -> Tensor:
    """The total with a term added in place."""
    if scale is not None:
        term = term * scale
    return term if total is None else total.add_(term)


class Frequencies:
    """Running counts of the tokens that were looked up: x is one-hot, so Σ_x is diagonal."""

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._counts: Tensor | None = None

    @property
    def rows(self) -> int:
        """How many tokens there were."""
        return 0 if self._counts is None else int(self._counts.sum())

    def add(self, tokens: Tensor, real: Tensor | None) -> None:
        """Take in tokens of any shape; those that are not ``real`` do not count."""
        one = torch.ones(tokens.shape, device=tokens.device) if real is None else real
        if self._counts is None:
            self._counts = torch.zeros(self._vocabulary, device=tokens.device, dtype=torch.int64)
        self._counts.index_add_(0, tokens.flatten().long(), one.flatten().long())

    def sums_of_rows(self) -> list[Tensor]:
        """None that need looking at: counts are finite."""
        return []

    def running_sums(self) -> list[Tensor]:
        """The counts, (vocabulary,) int64; none before the first token."""
        return [] if self._counts is None else [self._counts]

    def replace(self, rows: int, sums: list[Tensor]) -> None:
        """Have seen the tokens of these ``sums``."""
        (self._counts,) = sums

    def is_finite(self) -> bool:
        """Counts are."""
        return True

    def mean(self) -> Tensor:
        """Mean over rows of x: the share of each token, (vocabulary,), float64 on the CPU."""
        assert self._counts is not None
        return self._counts.cpu().double() / self.rows

    def second(self) -> Tensor:
        """The diagonal of the mean over rows of x xᵀ: the same shares, as a one-hot x is its own
        square.
        """
        return self.mean()


def scaled(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The tensor over a power of two that brings its largest entry to 1/2 … 1, and that power.

    Gradients of a deep network go below 1e-19, where float32 products vanish. A power of two
    rounds nothing, and as a tensor it makes no device wait.
    """
    if not tensor.numel():
        return tensor, torch.ones((), dtype=sum_dtype(tensor), device=tensor.device)
    _, exponent = torch.frexp(_largest(tensor))
    exponent = exponent.clamp(-126, 126).to(sum_dtype(tensor))  # the powers that float32 has
    return tensor * torch.exp2(-exponent).to(tensor.dtype), torch.exp2(exponent)


def moderated(tensor: Tensor) -> tuple[Tensor, Tensor | None]:
    """The tensor as it is, without a power, if its norm is ``MODERATE``; else ``scaled``.

    Only on the CPU, where to look at the size does not make the device wait.
    """
    if tensor.device.type == "cpu":
        numbers = _in_memory_order(tensor).flatten()
        squares = float(torch.dot(numbers, numbers))  # infinite or zero where they leave the range
        if is_told(squares):
            return tensor, None
    return scaled(tensor)


def is_told(square: float) -> bool:
    """Whether float32 holds numbers of this size, and those that count beside them."""
    return MODERATE[0] ** 2 <= square <= MODERATE[1] ** 2


def _largest(tensor: Tensor) -> Tensor:
    """The largest magnitude."""
    low, high = torch.aminmax(_in_memory_order(tensor))
    return torch.maximum(-low, high)


def _in_memory_order(tensor: Tensor) -> Tensor:
    """The axes by descending stride: what reads all numbers need not copy them."""
    if tensor.is_contiguous():
        return tensor
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def sum_of_rows(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Σ x over rows (G, n, d), (G, d), in ``dtype``; of few at a time in their own precision."""
    whole = rows.shape[1] // PART_ROWS * PART_ROWS
    if not whole:
        return rows.sum(1).to(dtype)
    parts: Tensor = rows[:, :whole].unflatten(1, (-1, PART_ROWS))
    return parts.sum(2).sum(1, dtype=dtype) + rows[:, whole:].sum(1)


def sum_dtype(tensor: Tensor) -> torch.dtype:
    """float64 wherever the device has it; Apple's mps does not."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64

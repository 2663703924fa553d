"""Second moments, summed as rows stream by."""

from __future__ import annotations

import torch
from torch import Tensor

# One float32 product over more rows than this loses digits (131,072 rows of 3 channels are off by
# 2e-4); pieces of this size, summed in float64, stay below 1e-6 at no cost.
PIECE_ROWS = 16_384


class Moment:
    """Running sums of x and x xᵀ over rows, in float64, products in the rows' own precision."""

    def __init__(self) -> None:
        self._seen = 0
        self._left_out: Tensor | int = 0
        self._sum: Tensor | None = None
        self._outer: Tensor | None = None

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return self._seen - int(self._left_out)

    def leave_out(self, real: Tensor | None) -> None:
        """Of the rows that are taken in, those that are not ``real`` are zero and do not count."""
        if real is not None:
            self._left_out = self._left_out + (~real).sum()

    @torch.no_grad()
    def add(self, rows: Tensor, power: Tensor) -> None:
        """Take in rows of shape (G, n, d), over ``power`` as ``scaled`` returns them."""
        self._seen += rows.shape[1]
        for piece in rows.split(PIECE_ROWS, dim=1):
            total = piece.sum(1).to(power.dtype) * power
            outer = (piece.transpose(1, 2) @ piece).to(power.dtype) * power**2
            if self._sum is None or self._outer is None:
                self._sum, self._outer = total, outer
            else:
                self._sum += total
                self._outer += outer

    def is_finite(self) -> bool:
        """Whether no row held NaN or infinity; a sum over all entries has them, too."""
        return self._outer is None or bool(self._outer.sum().isfinite())

    def mean(self) -> Tensor:
        """Mean over rows of x, (G·d,), float64 on the CPU."""
        assert self._sum is not None
        return self._sum.flatten().cpu().double() / self.rows

    def second(self) -> Tensor:
        """Mean over rows of x xᵀ, exactly symmetric, (d, d) or (G, d, d), float64 on the CPU."""
        assert self._outer is not None
        outer = self._outer.cpu().double() / self.rows
        outer = (outer + outer.transpose(1, 2)).mul_(0.5)
        return outer[0] if outer.shape[0] == 1 else outer


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
    low, high = torch.aminmax(tensor)
    _, exponent = torch.frexp(torch.maximum(-low, high))
    exponent = exponent.clamp(-126, 126).to(sum_dtype(tensor))  # the powers that float32 has
    return tensor * torch.exp2(-exponent).to(tensor.dtype), torch.exp2(exponent)


def sum_dtype(tensor: Tensor) -> torch.dtype:
    """float64 wherever the device has it; Apple's mps does not."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64

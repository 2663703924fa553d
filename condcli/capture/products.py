"""Products of rows with themselves, Σ x xᵀ: the one piece of arithmetic that a probe adds."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from condcli.capture.convolved import add_outer, outer, pays

# One float32 product over more rows than this loses digits (131,072 rows of 3 channels are off by
# 2e-4); pieces of this size, summed in float64, stay below 1e-6 at no cost. So do longer ones of
# few columns where products are convolutions, which take long to begin.
PIECE_ROWS = 16_384
LONG_PIECE_ROWS, LONG_PIECE_NUMBERS = 2**17, 2**21

# From this many columns on, what is under the diagonal is left out, panel by panel: nearly half
# the arithmetic, while each panel is still wide enough for a fast matrix product.
WIDE = 256
PANEL, WIDE_PANEL = 128, 256
# Where products are convolutions: fewer columns are quicker as a whole, and more are in four blocks
# along each side, as long as these are no wider.
BLOCK, BLOCKS = 512, 4

# Matrix products of few columns and many rows keep one core busy; in parts, they keep all.
PART_ROWS = 4096


def outer_of_narrow(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Σ x xᵀ over rows (G, n, d) with d < ``WIDE``, (G, d, d), the parts summed in ``dtype``."""
    whole = rows.shape[1] // PART_ROWS * PART_ROWS
    if rows.shape[0] > 1 or not whole or pays(rows[0], rows.shape[2]):
        return sum(
            (_outer(piece).to(dtype) for piece in _pieces(rows)),
            start=torch.zeros((), dtype=dtype, device=rows.device),
        )
    parts = _outer(rows[0, :whole].unflatten(0, (-1, PART_ROWS))).sum(0, keepdim=True, dtype=dtype)
    return parts + _outer(rows[:, whole:])


def _pieces(rows: Tensor) -> Iterator[Tensor]:
    """Those of rows (G, n, d) that are one product each."""
    groups, _, columns = rows.shape
    for piece in rows.split(min(LONG_PIECE_ROWS, LONG_PIECE_NUMBERS // columns), dim=1):
        if groups == 1 and pays(piece[0], columns):
            yield piece
        else:
            yield from piece.split(PIECE_ROWS, dim=1)


def _outer(rows: Tensor) -> Tensor:
    return outer(rows[0], rows[0])[None] if len(rows) == 1 else rows.mT @ rows


def add_outer_of_wide(total: Tensor, rows: Tensor) -> None:
    """Add Σ x xᵀ over rows (n, d) to ``total``, (d, d); right on and above the diagonal only."""
    d = rows.shape[1]
    block = block_width(d)
    if pays(rows[:, :block], block):
        return _add_in_blocks(total, rows, block)
    width = PANEL if d < 1000 else WIDE_PANEL
    for start in range(0, d, width):
        stop = start + width
        total[start:stop, start:].addmm_(rows[:, start:stop].t(), rows[:, start:])


def block_width(d: int) -> int:
    """Columns of each block of a product of rows of d columns, where it is a convolution."""
    return d if d <= BLOCK else min(BLOCK, -(-d // (16 * BLOCKS)) * 16)


def _add_in_blocks(total: Tensor, rows: Tensor, width: int) -> None:
    """The same where convolutions are quick, which take no parts of rows but copy them."""
    parts = [part.contiguous() for part in rows.split(width, dim=1)]
    for i, part in enumerate(parts):
        beside = total[i * width : (i + 1) * width].split(width, dim=1)
        for block, other in zip(beside[i:], parts[i:], strict=True):
            add_outer(block, part, other)


def make_symmetric(total: Tensor) -> None:
    """Mirror what is on and above the diagonals, (…, d, d), in place: these matrices are large."""
    for start in range(0, total.shape[-1], WIDE_PANEL):
        stop = start + WIDE_PANEL
        total[..., start:stop, :start] = total[..., :start, start:stop].mT
        block = total[..., start:stop, start:stop]
        block.copy_(block.triu() + block.triu(1).mT)

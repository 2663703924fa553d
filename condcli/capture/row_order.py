"""Which example each row of a call belongs to.

Rows run as the leading axes of the call do. These are (N, …), N the examples', or (T, N, …), or one
axis of N·T rows in the order (N, T) or (T, N). Which of them is seen in a rehearsal with copies of
one example, whose rows are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

EXAMPLES_FIRST, TIME_FIRST, UNKNOWN = "examples first", "time first", "unknown"


def row_order(rows: Tensor, leading: Sequence[int], copies: int) -> str:
    """How rows (R, …) of ``copies`` of one example run; ``leading`` are the axes that they have."""
    for order in (EXAMPLES_FIRST, TIME_FIRST):
        if fits(order, leading, copies):
            first, second, *_ = by_example(rows[None], leading, copies, order)[0]
            if alike(first, second):
                return order
    return UNKNOWN


def fits(order: str, leading: Sequence[int], examples: int) -> bool:
    """Whether rows with these axes can run so: not those of some of the examples alone."""
    rows = prod(leading)
    if order == TIME_FIRST and len(leading) > 1:
        return rows > 0 and leading[1] == examples
    return order != UNKNOWN and rows > 0 and rows % examples == 0


def by_example(rows: Tensor, leading: Sequence[int], examples: int, order: str) -> Tensor:
    """Rows (G, R, …) as (G, N, R/N, …)."""
    if order == EXAMPLES_FIRST:
        found: Tensor = rows.unflatten(1, (examples, -1))
        return found
    steps = leading[0] if len(leading) > 1 else rows.shape[1] // examples
    found = rows.unflatten(1, (steps, examples, -1)).transpose(1, 2).flatten(2, 3)
    return found


def alike(a: Tensor, b: Tensor) -> bool:
    """Whether two are the same up to the rounding of a network."""
    if not a.is_floating_point():
        return bool((a == b).all())
    return bool((a - b).abs().max() <= 1e-4 * a.abs().max())

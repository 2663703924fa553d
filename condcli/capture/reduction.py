"""One row an example: the mean of its inputs and the sum of its δ, over positions.

That is KFAC-reduce (Eschenhagen, Immer, Turner, Schneider & Hennig, "Kronecker-Factored Approximate
Curvature for Modern Neural Network Architectures", NeurIPS 2023, §3.2): the weight gradient of an
example, Σ_t δ_t x_tᵀ, is taken for (Σ_t δ_t) (mean_t x_t)ᵀ.
"""

from __future__ import annotations

from torch import Tensor

from condcli.capture.convolution import Convolution
from condcli.capture.linear_maps import Call, Lookup
from condcli.capture.padding import blank, row_axes
from condcli.capture.patches import mean_patches
from condcli.capture.row_order import EXAMPLES_FIRST, UNKNOWN, by_example, row_order


def mean_inputs(call: Call, x: Tensor, real: Tensor | None, examples: int, order: str) -> Tensor:
    """The mean of each example's rows that are ``real``, (G, N, d_in/G); 0 where there is none."""
    assert not isinstance(call.map, Lookup)
    if isinstance(call.map, Convolution):
        return mean_patches(*call.map.window(x), real)
    rows = call.map.output_rows(blank(x, real, -1))
    each = by_example(rows, x.shape[:-1], examples, order)
    if real is None:
        return each.mean(2)
    known = by_example(real.reshape(1, -1, 1), real.shape, examples, order)
    return each.sum(2) / known.sum(2).clamp(min=1)


def summed_grads(call: Call, delta: Tensor, examples: int, order: str) -> Tensor:
    """The sum of each example's δ, (G, N, d_out/G)."""
    leading = row_axes(delta.shape, call.map.unit_axis)
    return by_example(call.map.output_rows(delta), leading, examples, order).sum(2)


def without_rows(real: Tensor, examples: int, order: str) -> Tensor:
    """How many examples have no row that is ``real``."""
    rows = real.reshape(1, -1)
    return (~by_example(rows, real.shape, examples, order).any(2)).sum()


def order_of(call: Call, out: Tensor, copies: int) -> str:
    """How the rows of a call run, whose examples are ``copies`` of one."""
    if isinstance(call.map, Convolution):
        return EXAMPLES_FIRST if call.map.is_batch_of(call.x, copies) else UNKNOWN
    x = call.x.detach()
    rows = x.flatten() if isinstance(call.map, Lookup) else x.reshape(-1, x.shape[-1])
    return row_order(rows, row_axes(out.shape, call.map.unit_axis), copies)

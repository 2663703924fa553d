"""The largest eigenvalue of G Gᵀ / N, from products with it, where G's rows are the gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from condcli.analysis.lanczos import largest_eigenpair
from condcli.capture.convolved import outer, times
from condcli.capture.products import PANEL
from condcli.stats import FloatArray

Product = Callable[[Tensor], Tensor]

MOST_IN_GRAM = 2048  # examples: their Gram matrix is 16 MiB in float32
_SAMPLE, _DIRECTIONS = 512, 32  # rows that tell the leading directions, and how many of those
# Of the residual. The value is closer than this by far: its error goes with the square of the
# vector's. Each product is as dear as a backward pass of the layer.
_TOLERANCE = {torch.float32: 3e-4, torch.float64: 1e-9}
_ROUGHLY = 1e-2


def largest_of_factors(x: Tensor, delta: Tensor) -> float:
    """That of the gradients δ_n x_nᵀ, of the rows of (N, d_in) and (N, d_out)."""
    if gram_pays(len(x), x.shape[1], delta.shape[1]):
        gram = _gram(x, delta)
        return largest(len(x), x, lambda v: gram @ v)
    _, start = _leading(len(x), x, product_of(_few(x), _few(delta)), None, _ROUGHLY)
    return largest(len(x), x, product_of(x, delta), start)


def gram_pays(examples: int, d_in: int, d_out: int) -> bool:
    """Whether the Gram matrix itself, (N, N), takes less than the six or so products with it."""
    return examples <= MOST_IN_GRAM and examples * (d_in + d_out) <= 12 * d_in * d_out


def product_of(x: Tensor, delta: Tensor) -> Product:
    """v ↦ G Gᵀ v without G: the row sums of (X (Xᵀ diag(v) Δ)) ∘ Δ."""
    return lambda v: (times(x, outer(x, v[:, None] * delta)) * delta).sum(1)


def largest(
    examples: int, like: Tensor, product: Product, start: FloatArray | None = None
) -> float:
    """That of ``product`` / N, in ``like``'s precision; repeatable. ``start`` is near its vector.

    Raises numpy's LinAlgError where LAPACK fails.
    """
    return _leading(examples, like, product, start, _TOLERANCE[like.dtype])[0]


def _gram(x: Tensor, delta: Tensor) -> Tensor:
    """X Xᵀ ∘ Δ Δᵀ, (N, N): half of it is computed."""
    gram = x.new_empty(len(x), len(x))
    for start in range(0, len(x), PANEL):
        rows = slice(start, start + PANEL)
        panel = times(x[rows], x[start:].T).mul_(times(delta[rows], delta[start:].T))
        gram[rows, start:], gram[start:, rows] = panel, panel.T
    return gram


def _few(rows: Tensor) -> Tensor:
    """The rows (N, d) in about their leading directions, (N, few), found from some of them."""
    sample = rows[:_SAMPLE]
    longest = sample.norm(dim=1).topk(min(_DIRECTIONS, *sample.shape)).indices
    basis = sample[longest].T
    for _ in range(2):
        basis, _ = torch.linalg.qr(sample.T @ (sample @ basis))
    return rows @ basis


def _leading(
    examples: int, like: Tensor, product: Product, start: FloatArray | None, tolerance: float
) -> tuple[float, FloatArray]:
    """The eigenvalue, and its vector, (N,) float64."""

    def apply(v: FloatArray) -> FloatArray:
        image: FloatArray = (
            (product(torch.from_numpy(v).to(like)) / examples).cpu().double().numpy()
        )
        return image

    anywhere = np.random.Generator(np.random.PCG64(0)).standard_normal(examples)
    near = apply(anywhere) if start is None or not start.any() else start
    if not near.any():
        return 0.0, near
    # The random part reaches what no step from the rest can: examples that share nothing with it.
    mixed = near / np.linalg.norm(near) + 0.1 * anywhere / np.linalg.norm(anywhere)
    return largest_eigenpair(apply, mixed, tolerance)

"""The columns A of one layer's block F = (1/terms) A Aᵀ, and what is asked of them.

A column is the gradient Σ_rows δ xᵀ that one column of the loss's curvature in the outputs gives,
of one example. Where a layer sees one row an example, it is δ xᵀ, and the two are kept apart:
their Gram matrix AᵀA is that of x times, entry by entry, that of δ, and A is never written out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from condcli.curvature.rows import LayerRows

PIECE = 2**24  # numbers of A that are written out at a time


@dataclass(frozen=True, eq=False)
class Factored:
    """Columns δ_r x_rᵀ of a layer without groups, (d_out, d_in) each."""

    inputs: Tensor  # (R, d_in)
    grads: Tensor  # (R, d_out)

    @property
    def count(self) -> int:
        """R."""
        return len(self.grads)

    @property
    def size(self) -> int:
        """P."""
        return self.inputs.shape[1] * self.grads.shape[1]

    def gram(self) -> Tensor:
        """Aᵀ A, (R, R)."""
        return (self.inputs @ self.inputs.T).mul_(self.grads @ self.grads.T)

    def written(self) -> Tensor:
        """Aᵀ, (R, P)."""
        return (self.grads[:, :, None] * self.inputs[:, None, :]).flatten(1)


@dataclass(frozen=True, eq=False)
class Written:
    """Columns that are sums over several rows."""

    gradients: Tensor  # (R, P)

    @property
    def count(self) -> int:
        """R."""
        return len(self.gradients)

    @property
    def size(self) -> int:
        """P."""
        return self.gradients.shape[1]

    def gram(self) -> Tensor:
        """Aᵀ A, (R, R)."""
        return self.gradients @ self.gradients.T

    def written(self) -> Tensor:
        """Aᵀ, (R, P)."""
        return self.gradients


Columns = Factored | Written


def joined(parts: list[Columns]) -> Columns:
    """The columns of all batches together."""
    factored = [part for part in parts if isinstance(part, Factored)]
    if len(factored) == len(parts):
        inputs = torch.cat([part.inputs for part in factored])
        return Factored(inputs, torch.cat([part.grads for part in factored]))
    return Written(torch.cat([part.written() for part in parts]))


def columns_of(layer: LayerRows, units: int) -> Columns | None:
    """The columns that the latest backward pass gives, one for each of the batch's ``units``.

    The units are the examples, or the whole batch where its rows cannot be told apart. None where
    no gradient reached the layer.
    """
    rows = layer.rows()
    if not rows:
        return None
    if len(layer.calls) == 1 and rows[0][0].shape[:2] == (1, units):
        (x, delta) = rows[0]
        return Factored(x[0], delta[0])
    return Written(sum(_summed(x, delta, units) for x, delta in rows))  # type: ignore[arg-type]


def _summed(x: Tensor, delta: Tensor, units: int) -> Tensor:
    """Σ over each unit's rows of δ xᵀ, (units, G·d_out/G·d_in/G)."""
    x, delta = (rows.unflatten(1, (units, -1)) for rows in (x, delta))
    return torch.einsum("guro,guri->ugoi", delta, x).flatten(1)


@dataclass(eq=False)
class KroneckerSums:
    """Σ_x and Σ_∇h of one layer while they are summed; of a Fisher type over all its columns."""

    rows: int = 0
    input_rows: int = 0
    input_sum: Tensor | None = None  # (G, d_in/G, d_in/G)
    grad_sum: Tensor | None = None  # (G, d_out/G, d_out/G)

    def see_inputs(self, layer: LayerRows) -> None:
        """Take in the input rows of one batch."""
        for call in layer.calls:
            self.rows += call.count
            self.input_sum = _plus(self.input_sum, call.inputs)

    def see_grads(self, layer: LayerRows) -> None:
        """Take in the rows of δ of one backward pass."""
        for _, delta in layer.rows():
            self.grad_sum = _plus(self.grad_sum, delta)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Σ_x and Σ_∇h: means over the rows."""
        assert self.input_sum is not None
        assert self.grad_sum is not None
        return self.input_sum / self.rows, self.grad_sum / self.rows


def _plus(total: Tensor | None, rows: Tensor) -> Tensor:
    product = rows.transpose(1, 2) @ rows
    return product if total is None else total + product


def inner_product(columns: Columns, inputs: Tensor, grads: Tensor) -> float:
    """Σ_r a_rᵀ (Σ_∇h ⊗ Σ_x) a_r, group by group: ⟨A Aᵀ, Σ_x ⊗ Σ_∇h⟩ in Frobenius' product."""
    if isinstance(columns, Factored):
        x, delta = columns.inputs, columns.grads
        return float((((x @ inputs[0]) * x).sum(1) * ((delta @ grads[0]) * delta).sum(1)).sum())
    groups, d_out, d_in = len(grads), grads.shape[1], inputs.shape[1]
    total = 0.0
    for some in columns.gradients.split(max(1, PIECE // columns.size)):
        each = some.reshape(-1, groups, d_out, d_in)
        total += float((grads @ each @ inputs * each).sum())
    return total

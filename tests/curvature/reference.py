"""Dense matrices by autograd, example by example and output by output, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def jacobian(model: nn.Module, weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Of all outputs of the whole batch in the weights, (N, C, P): one backward pass each."""
    output = model(x)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(value, weights, retain_graph=True)])
        for value in output.flatten()
    ]
    return torch.stack(rows).reshape(len(x), -1, len(rows[0]))


def output_hessian(loss: str, scores: Tensor, target: Tensor) -> Tensor:
    """Of each example's loss in its scores, (C, C), by twofold differentiation."""

    def of(f: Tensor) -> Tensor:
        if loss == "cross-entropy":
            return F.cross_entropy(f[None], target[None])
        kind = {"mse": F.mse_loss, "bce": F.binary_cross_entropy_with_logits}[loss]
        return kind(f, target)

    return torch.autograd.functional.hessian(of, scores)


def gauss_newton(
    model: nn.Module, weights: Sequence[Tensor], x: Tensor, y: Tensor, loss: str
) -> np.ndarray:
    """The mean over examples of Jᵀ H J, (P, P)."""
    jacobians, scores = jacobian(model, weights, x), model(x).detach()
    total = sum(
        j.T @ output_hessian(loss, f, t) @ j for j, f, t in zip(jacobians, scores, y, strict=True)
    )
    return (total / len(x)).numpy()


def gradients_moment(
    model: nn.Module, weights: Sequence[Tensor], x: Tensor, y: Tensor
) -> np.ndarray:
    """The mean over examples of g gᵀ, g an example's gradient of cross entropy, (P, P)."""
    rows = []
    for n in range(len(x)):
        loss = F.cross_entropy(model(x)[n : n + 1], y[n : n + 1])
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
    stacked = torch.stack(rows)
    return (stacked.T @ stacked / len(x)).numpy()

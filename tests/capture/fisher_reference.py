"""Σ_∇h of every Fisher type and of the view `reduce`, by the slow and plain way.

- exact: B of an example is the Hessian of its summed loss in its outputs, by autograd; with δ_j the
  gradient of output j in a row, Σ_∇h is the mean over rows of Σ_jk B_jk δ_j δ_kᵀ, summed over the
  examples whose outputs the row acts on.
- mc: label k of an example at a place is drawn by the random numbers of PCG64((seed, place, k)): a
  class where its cumulative probability reaches a uniform number, a value with the variance C/2
  around each output, a bit below a uniform number; δ is the gradient at these labels, of bce √C
  times as large. Σ_∇h and E[δ] are means over rows and labels.
- reduce: of convolutions and linear layers on (N, …, d), a row is an example's mean input or sum
  of δ.

The model must be plain, as in reference.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.nn import functional

from .plain_rows import input_rows, output_rows, split_groups
from .reference import (
    Batch,
    _identity,
    _names_by_weight,
    _prepared,
    _recorded_calls,
    example_losses,
    second_moment,
)

Call = tuple[nn.Module, Tensor, Tensor]


@dataclass(eq=False)
class Sums:
    """What is added up of one layer."""

    rows: int = 0
    x: list[Tensor] = field(default_factory=list)  # each (G, rows, d_in/G)
    outer: Tensor | float = 0.0  # (G, d_out/G, d_out/G)
    total: Tensor | float = 0.0  # (d_out,)


@dataclass(frozen=True, eq=False)
class Found:
    """The means of one layer."""

    rows: int
    input_moment: Tensor
    grad_moment: Tensor
    grad_mean: Tensor


def measure(
    model: nn.Module,
    batches: Sequence[Batch],
    *,
    fisher: str,
    loss: str = "auto",
    norm: str = "batch",
    samples: int = 1,
    seed: int = 0,
    reduced: bool = False,
) -> dict[str, Found]:
    """Of every layer, in float64."""
    model = _prepared(model, norm=norm, dtype=torch.float64)
    names, layers, place = _names_by_weight(model), {}, 0
    for x, y in batches:
        x, y = (t.double() if t.is_floating_point() else t for t in (x, y))
        with _recorded_calls(model) as calls:
            output = model(x)
        kind = ("mse" if y.is_floating_point() else "cross-entropy") if loss == "auto" else loss
        pairs = _curvatures(output, y, kind, fisher, samples, seed, place)
        grads = [_grads(output, calls, cotangents) for _, cotangents in pairs]
        for i, (module, inputs, h) in enumerate(calls):
            layer = layers.setdefault(names[_identity(module)], Sums())
            layer.x.append(split_groups(module, _inputs(module, inputs, h, reduced=reduced)))
            layer.rows += layer.x[-1].shape[1]
            for (matrix, _), found in zip(pairs, grads, strict=True):
                deltas = torch.stack(
                    [
                        split_groups(module, _deltas(module, each[i], inputs, reduced=reduced))
                        for each in found
                    ]
                )
                outer = torch.einsum("jk,jgra,kgrb->gab", matrix, deltas, deltas)
                layer.outer = layer.outer + outer
                if fisher == "mc":
                    rows = deltas.sum((0, 2)).flatten() * matrix[0, 0]
                    layer.total = layer.total + rows
        place += len(x)
    return {
        name: Found(
            rows=layer.rows,
            input_moment=second_moment(torch.cat(layer.x, dim=1)),
            grad_moment=layer.outer[0] if len(layer.outer) == 1 else layer.outer,
            grad_mean=torch.as_tensor(layer.total),
        )
        for name, layer in ((name, _mean(layer)) for name, layer in layers.items())
    }


def _mean(layer: Sums) -> Sums:
    return Sums(layer.rows, layer.x, layer.outer / layer.rows, layer.total / layer.rows)


def _curvatures(
    output: Tensor, y: Tensor, loss: str, fisher: str, samples: int, seed: int, place: int
) -> list[tuple[Tensor, list[Tensor]]]:
    """Matrices M and cotangents u of the outputs, of which B is the sum of M_jk u_j u_kᵀ."""
    values, found = output.detach(), []
    if fisher == "mc":
        for k in range(samples):
            labels = drawn(values, y, loss, seed, place, k)
            scores = values.clone().requires_grad_()
            own, _ = example_losses(scores, labels, loss)
            (gradient,) = torch.autograd.grad(own.sum(), scores)
            if loss == "bce":
                gradient = gradient * values[0].numel() ** 0.5
            found.append((torch.ones(1, 1, dtype=torch.float64) / samples, [gradient]))
        return found
    for n in range(len(values)):
        own = hessian(
            lambda f, n=n: example_losses(f[None], y[n : n + 1], loss)[0].sum(), values[n]
        )
        units = torch.eye(values[n].numel(), dtype=torch.float64)
        cotangents = []
        for unit in units:
            cotangent = torch.zeros_like(values)
            cotangent[n] = unit.reshape(values[n].shape)
            cotangents.append(cotangent)
        found.append((own.reshape(len(units), -1), cotangents))
    return found


def drawn(values: Tensor, y: Tensor, loss: str, seed: int, place: int, k: int) -> Tensor:
    """The labels of all examples of a batch; those that are ignored stay so."""
    labels = y.clone()
    for n, scores in enumerate(values):
        source = np.random.Generator(np.random.PCG64((seed, place + n, k)))
        if loss == "mse":
            noise = source.standard_normal(tuple(scores.shape))
            labels[n] = (scores + (scores.numel() / 2) ** 0.5 * torch.from_numpy(noise)).reshape(
                y[n].shape
            )
        elif loss == "bce":
            uniform = torch.from_numpy(source.random(tuple(scores.shape)))
            labels[n] = (uniform < scores.sigmoid()).reshape(y[n].shape)
        else:
            uniform = source.random(tuple(scores.shape[1:]))
            for position in np.ndindex(uniform.shape):
                p = functional.softmax(scores[(slice(None), *position)], 0).cumsum(0)
                if y[(n, *position)] != -100:
                    reached = np.searchsorted(p.numpy(), uniform[position])
                    labels[(n, *position)] = min(int(reached), len(p) - 1)
    return labels


def _grads(
    output: Tensor, calls: Sequence[Call], cotangents: Sequence[Tensor]
) -> list[list[Tensor]]:
    outputs = [h for *_, h in calls]
    found = []
    for cotangent in cotangents:
        own = torch.autograd.grad(
            output, outputs, cotangent, retain_graph=True, materialize_grads=True, allow_unused=True
        )
        found.append(list(own))
    return found


def _inputs(module: nn.Module, x: Tensor, h: Tensor, *, reduced: bool) -> Tensor:
    rows = input_rows(module, x, h, conv="patches")
    if not reduced or isinstance(module, nn.Embedding):
        return rows
    if isinstance(module, nn.Linear):
        return rows.unflatten(0, (len(x), -1)).mean(1)
    return rows.unflatten(0, (-1, len(x))).mean(0)  # position by position


def _deltas(module: nn.Module, delta: Tensor, x: Tensor, *, reduced: bool) -> Tensor:
    rows = output_rows(module, delta, x)
    if not reduced or isinstance(module, nn.Embedding):
        return rows
    if isinstance(module, nn.Linear):
        return rows.unflatten(0, (len(x), -1)).sum(1)
    return rows.unflatten(0, (-1, len(x))).sum(0)

"""What each Fisher matrix takes for the curvature of the loss in the network's outputs.

Every matrix here is F = (1/terms) Σ_n J_nᵀ B_n J_n, with J_n the Jacobian of example n's outputs
and B_n = Σ_c s_c s_cᵀ a small matrix, of which the columns s_c are all that a backward pass needs:

- ``exact`` (type 2): B_n is the Hessian of the example's summed loss in its outputs, so that F is
  the generalised Gauss-Newton matrix. For the losses of condcli, which are negative logarithms of
  likelihoods with natural parameters, that is the Fisher matrix (Martens, JMLR 2020, §9.2);
- ``mc`` (type 1): a column a sample, the loss's gradient at a label drawn from the network's own
  prediction, over √samples; its expectation is the exact one;
- ``empirical``: one column, the gradient at the true labels.

The exact columns, with p = softmax(f): cross entropy √p_c (e_c − p), as S Sᵀ = diag(p) − p pᵀ;
squared error, a mean over C outputs, √(2/C) e_c; binary cross entropy √(σ(1 − σ)/C) e_c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod, sqrt

import numpy as np
import torch
from torch import Tensor

from condcli.capture.calling import logits
from condcli.capture.losses import IGNORED_LABEL, Evaluation, Loss
from condcli.errors import UsageError

FISHERS = ("exact", "mc", "empirical")
Source = np.random.Generator
Sources = Sequence[Source]  # one an example


@dataclass(frozen=True, kw_only=True)
class OutputCurvature:
    """B of one batch: its columns one by one, and its product with tangents of the outputs."""

    scores: Tensor  # (N, …), in the graph of the network
    count: int  # columns of each example
    column: Callable[[int], Tensor]  # the i-th of all examples, in the shape of the scores
    product: Callable[[Tensor], Tensor]  # B u, for u in the shape of the scores


def output_curvature(
    loss: Loss,
    output: object,
    result: Evaluation,
    fisher: str,
    *,
    samples: int = 1,
    seed: int = 0,
    place: int = 0,
) -> OutputCurvature:
    """The curvature of a batch's summed loss in its outputs, of this Fisher type.

    ``result`` is the loss of ``output``; ``samples`` and ``seed`` are of the type mc, where what is
    drawn depends on an example's place in the probe set, the first one's being ``place``, and not
    on its batch. Raises UsageError for a loss of the user's own, of which only the gradient is
    known.
    """
    scores = logits(output) if result.scores is None else result.scores
    if fisher == "empirical":
        (grad,) = torch.autograd.grad(result.loss, scores, retain_graph=True)
        return _of_samples(scores, 1, lambda _: grad)
    require_distribution(loss, "pass --matrix sample-gradients")
    values = scores.detach().to(torch.promote_types(scores.dtype, torch.float32))
    draw: Callable[[Sources], Tensor]
    if loss.labelled:
        assert result.labels is not None
        real = (result.labels != IGNORED_LABEL).unsqueeze(1).to(scores.device)
        softmax = values.softmax(1)
        if fisher == "exact":
            return _softmax(scores, softmax, real)
        draw = partial(_drawn_class, softmax, real)
    elif loss.name == "mse":
        variance = torch.full_like(values, 2 / prod(scores.shape[1:]))
        if fisher == "exact":
            return _diagonal(scores, variance)
        draw = partial(_normal, variance)
    else:
        probability, outputs = values.sigmoid(), prod(scores.shape[1:])
        if fisher == "exact":
            return _diagonal(scores, probability * (1 - probability) / outputs)
        draw = partial(_drawn_bit, probability, outputs)

    def sample(i: int) -> Tensor:
        sources = [_source(seed, place + n, i) for n in range(len(scores))]
        return (draw(sources) / sqrt(samples)).to(scores.dtype)

    return _of_samples(scores, samples, sample)


def require_distribution(loss: Loss, remedy: str) -> None:
    """Raise UsageError for a loss of the user's own: nothing is known of its labels."""
    if not loss.labelled and loss.name not in ("mse", "bce"):
        raise UsageError(
            f"the Fisher matrix of {loss.name} is not known: its labels have no distribution",
            remedy,
        )


def one_by_one(column: Tensor) -> Iterator[Tensor]:
    """A column of all examples as those of one example each, zero for the others."""
    for n in range(len(column)):
        alone = torch.zeros_like(column)
        alone[n] = column[n]
        yield alone


def trials(scores: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Columns that are zero for some examples, and which: to see whether they act on each other.

    Without the first half of the examples, and without every other one.
    """
    numbers = torch.arange(len(scores), device=scores.device)
    generator = torch.Generator(scores.device).manual_seed(0)
    for others in (numbers >= (len(scores) + 1) // 2, numbers % 2 == 1):
        column = torch.randn(
            scores.shape, generator=generator, dtype=scores.dtype, device=scores.device
        )
        column[others] = 0
        yield column, others


def columns_each(fisher: str, outputs: int, samples: int) -> int:
    """How many columns an example with so many outputs has."""
    return {"exact": outputs, "mc": samples, "empirical": 1}[fisher]


def _of_samples(scores: Tensor, count: int, sample: Callable[[int], Tensor]) -> OutputCurvature:
    def product(u: Tensor) -> Tensor:
        samples = map(sample, range(count))
        return sum((_dot(s, u) * s for s in samples), torch.zeros_like(u))

    return OutputCurvature(scores=scores, count=count, column=sample, product=product)


def _softmax(scores: Tensor, p: Tensor, real: Tensor) -> OutputCurvature:
    """Of scores (N, C, …), for each position of an example by itself."""
    classes, positions = p.shape[1], p.flatten(2) if p.dim() > 2 else p.unsqueeze(2)
    real = real.expand(p.shape).reshape(positions.shape)

    def column(i: int) -> Tensor:
        c, t = i % classes, i // classes
        found = torch.zeros_like(positions)
        found[:, :, t] = -positions[:, :, t]
        found[:, c, t] += 1
        found[:, :, t] *= positions[:, c : c + 1, t].sqrt() * real[:, :, t]
        return found.reshape(p.shape).to(scores.dtype)

    def product(u: Tensor) -> Tensor:
        u = u.reshape(positions.shape)
        inner = (positions * u).sum(1, keepdim=True)
        return (real * positions * (u - inner)).reshape(p.shape)

    return OutputCurvature(
        scores=scores, count=classes * positions.shape[2], column=column, product=product
    )


def _diagonal(scores: Tensor, variance: Tensor) -> OutputCurvature:
    roots = variance.sqrt()

    def column(i: int) -> Tensor:
        found = torch.zeros_like(roots).flatten(1)
        found[:, i] = roots.flatten(1)[:, i]
        return found.reshape(roots.shape).to(scores.dtype)

    return OutputCurvature(
        scores=scores,
        count=prod(scores.shape[1:]),
        column=column,
        product=lambda u: variance * u,
    )


def _source(seed: int, place: int, sample: int) -> Source:
    """The random numbers of one label of one example, the same in whatever batch or shard."""
    return np.random.Generator(np.random.PCG64((seed, place, sample)))


def _drawn_class(p: Tensor, real: Tensor, sources: Sources) -> Tensor:
    """p − e_y with y drawn from p, (N, C, …)."""
    uniform = torch.stack([torch.from_numpy(s.random(p.shape[2:])) for s in sources]).to(p)
    cumulative = p.cumsum(1)
    reached = cumulative < uniform.unsqueeze(1) * cumulative[:, -1:]
    labels = reached.sum(1, keepdim=True).clamp(max=p.shape[1] - 1)
    return p.scatter_add(1, labels, -torch.ones_like(labels, dtype=p.dtype)) * real


def _normal(variance: Tensor, sources: Sources) -> Tensor:
    """The gradient at values drawn around the outputs."""
    drawn = [torch.from_numpy(s.standard_normal(variance.shape[1:])) for s in sources]
    return -variance.sqrt() * torch.stack(drawn).to(variance)


def _drawn_bit(probability: Tensor, outputs: int, sources: Sources) -> Tensor:
    uniform = [torch.from_numpy(s.random(probability.shape[1:])) for s in sources]
    bits = torch.stack(uniform).to(probability) < probability
    return (probability - bits.to(probability)) / sqrt(outputs)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each example, with as many axes as the two have."""
    return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.dim() - 1))

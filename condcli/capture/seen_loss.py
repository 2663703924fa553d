"""Losses as a training computes them: which torch function, over how many terms, and what scale.

A training goes backward from its own multiple of the summed loss: a mean over the batch, divided by
the number of batches that are accumulated, times the scale of a GradScaler. The gradient that comes
back to the loss itself tells that multiple, c, for c · Σℓ has the gradient c with respect to Σℓ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from condcli.capture.losses import IGNORED_LABEL
from condcli.capture.moments import sum_dtype
from condcli.errors import InputError

NONE, MEAN, SUM = range(3)  # torch's own numbers for reduction=


@dataclass(frozen=True, kw_only=True)
class SeenLoss:
    """One call of a loss, and what the probe's loss of the same name would be made of."""

    name: str
    reduction: int
    terms: int  # of the summed loss
    elements: int  # numbers that the call adds up or averages; a term is as many over ``terms``
    target: Tensor | None
    scores: Tensor | None = None  # (N, C, …)
    labels: Tensor | None = None  # (N, …), on the CPU, with torch's own sign for none


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What one loss amounted to once its gradient came back."""

    to_sum: Tensor  # a gradient times this is that of the summed loss; 0-dimensional
    total: Tensor  # the summed loss
    terms: int
    labels: Tensor | None = None


def told(terms: int, name: str) -> SeenLoss:
    """A loss of the user's own, the mean over so many terms."""
    return SeenLoss(name=name, reduction=MEAN, terms=terms, elements=terms, target=None)


def scale(seen: SeenLoss, value: Tensor, grad: Tensor) -> Scale:
    """What the loss with this value, (), or that of each element, amounts to; ``grad`` is its own.

    Raises InputError where the elements have weights of several sizes: none is the summed loss.
    """
    each = seen.terms / max(1, seen.elements)
    grad, value = grad.to(sum_dtype(grad)), value.to(sum_dtype(value))
    if seen.reduction == MEAN:
        return Scale(to_sum=seen.terms / grad, total=value * seen.terms, terms=seen.terms)
    if seen.reduction == SUM:
        return Scale(to_sum=each / grad, total=value * each, terms=seen.terms)
    counts = grad != 0
    if seen.labels is not None:
        counts = counts & (seen.labels != IGNORED_LABEL).to(grad.device)
    weights = grad[counts]
    if not len(weights) or bool((weights - weights[0]).abs().max() > 1e-5 * weights[0].abs()):
        raise InputError(
            "the terms of the loss count with different weights, so that no example's own "
            "gradient can be told",
            "say what the mean loss is: step.loss(loss, terms=N)",
        )
    return Scale(
        to_sum=each / weights[0],
        total=value[counts].sum() * each,
        terms=round(len(weights) * each),
        labels=None
        if seen.labels is None
        else seen.labels.masked_fill(~counts.cpu(), IGNORED_LABEL),
    )


def see(function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SeenLoss | None:
    """The loss that a torch function of this name has computed; None where it is none."""
    return LOSSES[function](*args, **kwargs) if function in LOSSES else None


def _of_labels(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: int = MEAN,
    ignore_index: int = IGNORED_LABEL,
    label_smoothing: float = 0.0,
) -> SeenLoss:
    scores = input if input.dim() > 1 else input.unsqueeze(0)
    if target.is_floating_point():  # shares of classes
        terms = scores.numel() // max(1, scores.shape[1])
        return SeenLoss(
            name="cross-entropy", reduction=reduction, terms=terms, elements=terms, target=target
        )
    labels = target.detach().cpu().reshape(scores.shape[:1] + scores.shape[2:])
    labels = labels.masked_fill(labels == ignore_index, IGNORED_LABEL)
    terms = int((labels != IGNORED_LABEL).sum())
    return SeenLoss(
        name="cross-entropy",
        reduction=reduction,
        terms=terms,
        elements=terms,
        target=target,
        scores=scores.detach(),
        labels=labels,
    )


def _of_values(name: str) -> Callable[..., SeenLoss]:
    """Of a loss that compares number with number; a term is an example's mean."""

    def seen(
        input: Tensor, target: Tensor, *options: Any, reduction: int | None = None, **_: Any
    ) -> SeenLoss:
        given = [option for option in options if type(option) is int]
        found = given[0] if reduction is None and given else reduction
        return SeenLoss(
            name=name,
            reduction=MEAN if found is None else found,
            terms=len(input) if input.dim() else 1,
            elements=input.numel(),
            target=target,
        )

    return seen


# By the names under which a function mode sees what torch.nn.functional calls.
LOSSES: dict[str, Callable[..., SeenLoss]] = {
    "cross_entropy_loss": _of_labels,
    "nll_loss_nd": _of_labels,
    "mse_loss": _of_values("mse"),
    "binary_cross_entropy_with_logits": _of_values("bce"),
    "binary_cross_entropy": _of_values("bce"),
    "l1_loss": _of_values("l1"),
    "smooth_l1_loss": _of_values("smooth-l1"),
    "huber_loss": _of_values("huber"),
}


def in_backward() -> bool:
    """Whether this thread is in a backward pass."""
    return bool(torch._C._current_graph_task_id() != -1)

"""The summed loss: terms × what torch's own loss gives with ``reduction="mean"``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from condcli.batch import Tensors, examples_in, leaves, mapped
from condcli.capture.calling import logits
from condcli.errors import InputError, UsageError
from condcli.user_code import errors_reported, load_function

IGNORED_LABEL = -100  # torch's own default for cross entropy
OTHER_LOSS = "give targets of the output's shape, or another --loss"
NOT_TOGETHER = "check that the model and the data belong together"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The loss of one batch, and what was compared where there are classes."""

    loss: Tensor  # summed over the terms
    terms: int
    scores: Tensor | None = None  # (N, C, …)
    labels: Tensor | None = None  # (N, …), on the CPU


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss by its name; ``of`` evaluates it on a network's output and the targets."""

    name: str
    of: Callable[[object, Tensors, str], Evaluation]  # output, targets, the data's name

    @property
    def labelled(self) -> bool:
        """Whether its targets are class labels."""
        return self.name in ("cross-entropy", "next-token")


def find_loss(name: str, *, device: torch.device, tokens: bool = False) -> Loss:
    """The loss that ``name`` stands for: a known one, or the user's ``FILE.py:function``.

    Where the inputs are ``tokens``, logits (N, T, C) have the classes last, else (N, C, …).
    Raises UsageError for an unknown name.
    """
    if ":" in name:
        return Loss(name=name, of=_user_loss(name, device))
    known: dict[str, Callable[[object, Tensors, str], Evaluation]] = {
        "cross-entropy": lambda out, y, source: _cross_entropy(out, y, source, tokens),
        "next-token": _next_token,
        "mse": _mse,
        "bce": _bce,
    }
    if name not in known:
        raise UsageError(
            f"unknown loss {name!r}", f"choose auto, {', '.join(known)}, or FILE.py:function"
        )
    return Loss(name=name, of=known[name])


def choose(output_shape: tuple[int, ...], inputs: Tensors, target: Tensors) -> str:
    """The loss that ``auto`` means for outputs of this shape (examples aside) and such targets.

    Binary cross entropy where there is a 0 or 1 for each output (in floats, for several outputs);
    else squared error for floats; next-token cross entropy where the labels repeat the input
    tokens; else cross entropy.
    """
    if not isinstance(target, Tensor):
        raise UsageError(
            "targets of several tensors have no loss of their own",
            "name it: --loss FILE.py:function",
        )
    outputs = prod(output_shape)
    one_each = outputs == prod(target.shape[1:]) > 0
    binary = one_each and bool(((target == 0) | (target == 1)).all())
    if target.is_floating_point():
        return "bce" if binary and outputs > 1 else "mse"
    if any(_repeats(target, tensor) for tensor in leaves(inputs)):
        return "next-token"
    return "bce" if binary else "cross-entropy"


def class_axis(output_shape: tuple[int, ...], target_shape: tuple[int, ...], tokens: bool) -> int:
    """Which axis of the output, examples first, has the classes: 1, or the last; 0 for none."""
    fits = {
        1: len(output_shape) > 1 and output_shape[:1] + output_shape[2:] == target_shape,
        len(output_shape) - 1: len(output_shape) > 1 and output_shape[:-1] == target_shape,
    }
    axes = [axis for axis, fit in fits.items() if fit]
    return (axes[-1] if tokens else axes[0]) if axes else 0


def _repeats(target: Tensor, tokens: Tensor) -> bool:
    labelled = target != IGNORED_LABEL
    return (
        not tokens.is_floating_point()
        and target.dim() == 2
        and tokens.shape == target.shape
        and bool(labelled.any())
        and bool((tokens == target)[labelled].all())
    )


def _cross_entropy(output: object, target: Tensors, source: str, tokens: bool) -> Evaluation:
    """Σ over labelled targets of −log softmax; output (N, C, …) or (N, …, C), target (N, …)."""
    scores, labels = logits(output), _one_tensor(target, source)
    shapes = _shapes(scores, labels, source)
    if labels.is_floating_point():
        raise InputError(
            f"cross entropy needs class labels, and those of {source} are {labels.dtype}",
            "store y as integers, or use --loss mse or bce",
        )
    axis = class_axis(tuple(scores.shape), tuple(labels.shape), tokens)
    if not axis:
        raise InputError(
            f"{shapes}, and cross entropy needs outputs (N, classes, …) and labels (N, …)",
            NOT_TOGETHER,
        )
    return _labelled(scores.movedim(axis, 1), labels, source)


def _next_token(output: object, target: Tensors, source: str) -> Evaluation:
    """Cross entropy of each token given those before it; output (N, T, C), target (N, T)."""
    scores, labels = logits(output), _one_tensor(target, source)
    if scores.dim() != 3 or scores.shape[:2] != labels.shape or labels.shape[1] < 2:
        raise InputError(
            f"{_shapes(scores, labels, source)}, and next-token needs outputs (N, tokens, "
            "vocabulary) and labels (N, tokens), two tokens or more",
            NOT_TOGETHER,
        )
    return _labelled(scores[:, :-1].movedim(2, 1), labels[:, 1:], source)


def _labelled(scores: Tensor, labels: Tensor, source: str) -> Evaluation:
    known = labels[labels != IGNORED_LABEL]
    if len(known) and not 0 <= int(known.min()) <= int(known.max()) < scores.shape[1]:
        raise InputError(
            f"the model has {scores.shape[1]} outputs, and the labels of {source} run from "
            f"{int(known.min())} to {int(known.max())}",
            f"{NOT_TOGETHER}; a label that stands for none is given by --ignore-label",
        )
    loss = F.cross_entropy(
        scores, labels.to(scores.device), reduction="sum", ignore_index=IGNORED_LABEL
    )
    return Evaluation(loss=loss, terms=len(known), scores=scores, labels=labels)


def _mse(output: object, target: Tensors, source: str) -> Evaluation:
    """Σ over examples of the mean over outputs of the squared error."""
    scores, values = _one_each("mse", output, target, source)
    if not _one_tensor(target, source).is_floating_point():
        raise InputError(
            f"mse needs floating-point targets, and those of {source} are integers",
            "store y as floats, or use --loss cross-entropy",
        )
    return Evaluation(loss=F.mse_loss(scores, values) * len(scores), terms=len(scores))


def _bce(output: object, target: Tensors, source: str) -> Evaluation:
    """Σ over examples of the mean over outputs of the binary cross entropy; logits in."""
    scores, values = _one_each("bce", output, target, source)
    low, high = (float(bound) for bound in torch.aminmax(_one_tensor(target, source)))
    if not 0 <= low <= high <= 1:
        raise InputError(
            f"bce needs targets from 0 to 1, and those of {source} run from {low:g} to {high:g}",
            "store shares or 0 and 1, or use --loss mse",
        )
    loss = F.binary_cross_entropy_with_logits(scores, values) * len(scores)
    return Evaluation(loss=loss, terms=len(scores))


def _user_loss(name: str, device: torch.device) -> Callable[[object, Tensors, str], Evaluation]:
    """The user's ``function(output, targets)``, which returns a loss for each example or term."""
    function = load_function(name)

    def of(output: object, target: Tensors, source: str) -> Evaluation:
        with errors_reported(name):
            losses = function(output, mapped(lambda leaf: leaf.to(device), target))
        if not isinstance(losses, Tensor) or losses.dim() == 0 or not losses.is_floating_point():
            what = "one number" if isinstance(losses, Tensor) else type(losses).__name__
            raise InputError(
                f"{name} returned {what} for {examples_in(target)} examples",
                'return a tensor with the loss of each (reduction="none"); condcli sums them',
            )
        return Evaluation(loss=losses.sum(), terms=losses.numel())

    return of


def _one_each(name: str, output: object, target: Tensors, source: str) -> tuple[Tensor, Tensor]:
    scores, values = logits(output), _one_tensor(target, source)
    if scores.numel() != values.numel() or len(scores) != len(values):
        raise InputError(
            f"{_shapes(scores, values, source)}, and {name} needs one target per output", OTHER_LOSS
        )
    return scores, values.to(scores.device, scores.dtype).reshape(scores.shape)


def _one_tensor(target: Tensors, source: str) -> Tensor:
    if isinstance(target, torch.Tensor):
        return target
    raise InputError(
        f"the targets of {source} are {len(list(leaves(target)))} tensors",
        "name their loss with --loss FILE.py:function",
    )


def _shapes(scores: Tensor, target: Tensor, source: str) -> str:
    return (
        f"the model's output is {tuple(scores.shape)}, "
        f"the target of {source} is {tuple(target.shape)}"
    )

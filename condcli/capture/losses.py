"""The summed loss: terms × what torch's own loss gives with ``reduction="mean"``."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from condcli.errors import InputError, UsageError

IGNORED_LABEL = -100  # torch's own default for cross entropy


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Sum over labelled targets of −log softmax; output (N, C, …), target (N, …)."""
    return F.cross_entropy(output, target, reduction="sum", ignore_index=IGNORED_LABEL)


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Sum over examples of the mean over outputs of the squared error."""
    return F.mse_loss(output, target.reshape(output.shape)) * len(output)


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Sum over examples of the mean over outputs of the binary cross entropy; logits in."""
    return F.binary_cross_entropy_with_logits(output, target.reshape(output.shape)) * len(output)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "mse": mse,
    "bce": bce,
}


def choose(name: str, target: Tensor) -> str:
    """The loss that ``auto`` means: cross entropy for class labels, else squared error."""
    if name != "auto":
        if name not in LOSSES:
            raise UsageError(f"unknown loss {name!r}", f"choose auto, {', '.join(LOSSES)}")
        return name
    return "mse" if target.is_floating_point() else "cross-entropy"


def terms(name: str, target: Tensor) -> int:
    """Terms of the summed loss in one batch: labelled targets, or examples."""
    if name == "cross-entropy":
        return int((target != IGNORED_LABEL).sum())
    return len(target)


def check(name: str, output: Tensor, target: Tensor, source: str) -> None:
    """Raise InputError when the output cannot be compared with the target, naming both shapes."""
    shapes = (
        f"the model's output is {tuple(output.shape)}, "
        f"the target of {source} is {tuple(target.shape)}"
    )
    if name != "cross-entropy":
        if output.numel() != target.numel() or len(output) != len(target):
            raise InputError(
                f"{shapes}, and {name} needs one target per output",
                "give targets of the output's shape, or another --loss",
            )
        if not target.is_floating_point():
            raise InputError(
                f"{name} needs floating-point targets, and those of {source} are {target.dtype}",
                "store y as floats, or use --loss cross-entropy",
            )
        if name == "bce" and not 0 <= float(target.min()) <= float(target.max()) <= 1:
            raise InputError(
                f"bce needs targets from 0 to 1, and those of {source} run from "
                f"{float(target.min()):g} to {float(target.max()):g}",
                "store shares or 0 and 1, or use --loss mse",
            )
        return
    if target.is_floating_point():
        raise InputError(
            f"cross entropy needs integer labels, and those of {source} are {target.dtype}",
            "store y as integers, or use --loss mse or bce",
        )
    if output.dim() < 2 or output.shape[:1] + output.shape[2:] != target.shape:
        raise InputError(
            f"{shapes}, and cross entropy needs outputs (N, classes, …) and labels (N, …)",
            "check that the model and the data belong together",
        )
    labelled = target[target != IGNORED_LABEL]
    if len(labelled) and not 0 <= int(labelled.min()) <= int(labelled.max()) < output.shape[1]:
        raise InputError(
            f"the model has {output.shape[1]} outputs, and the labels of {source} run from "
            f"{int(labelled.min())} to {int(labelled.max())}",
            "check that the model and the data belong together",
        )

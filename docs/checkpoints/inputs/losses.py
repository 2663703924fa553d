"""The losses of networks that answer with several tensors, or with quantiles."""

import torch
import torch.nn.functional as F
from torch import Tensor


def face(output: tuple[Tensor, Tensor, Tensor], label: Tensor) -> Tensor:
    """Cross entropy of face or none, and squared errors from an empty box, per image."""
    logits, box, points = output
    errors = box.square().mean(1) + points.square().mean(1)
    return F.cross_entropy(logits, label, reduction="none") + errors


def pitch(output: tuple[Tensor, Tensor], label: Tensor) -> Tensor:
    """Cross entropy of the pitch, and of there being one, per frame."""
    logits, voiced = output
    unsure = F.binary_cross_entropy_with_logits(voiced, torch.ones_like(voiced), reduction="none")
    return F.cross_entropy(logits, label, reduction="none") + unsure


def calls(output: tuple[Tensor, Tensor], label: Tensor) -> Tensor:
    """Cross entropy of the species, and the sizes' absolute values, per pixel."""
    logits, sizes = output
    return F.cross_entropy(logits, label, reduction="none") + sizes.abs().mean(1)


def pinball(quantiles: Tensor, values: Tensor) -> Tensor:
    """The loss of the nine quantiles 0.1 … 0.9 (N, 48, 9) of each series."""
    share = torch.arange(1, 10, dtype=quantiles.dtype) / 10
    short = values.to(quantiles.dtype)[..., None] - quantiles
    return torch.maximum(share * short, (share - 1) * short).mean((1, 2))

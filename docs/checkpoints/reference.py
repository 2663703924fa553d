"""Σ_x and Σ_∇h of every weight once more, in float64 and by other means than condcli's.

PyTorch's own functions are replaced while the network runs (recorder.py): each call that uses a
weight adds its input's rows to a sum, and returns its output plus a zero whose gradient is then δ.
LSTMs run as a loop over time of two linear maps (recurrence.py). Nothing of condcli is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from recorder import Recorder, Sums, replaced, split
from recurrence import unrolled
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Batch = tuple[Any, Any]
Loss = Callable[[Any, Any], Tensor]  # a network's output and the targets, to the summed loss


def measure(
    network: nn.Module,
    batches: list[Batch],
    loss: Loss,
    *,
    running: bool = False,
    dtype: torch.dtype = torch.float64,
    stubborn: bool = False,
) -> dict[str, Sums]:
    """By the weight's name, of a lookup with ` (lookup)` after it; dropout off.

    The network runs in ``dtype``, the sums are float64 always. Batch normalisation goes by each
    batch's statistics, or by the ``running`` ones. A ``stubborn`` network makes float32 numbers
    itself: they are made in ``dtype`` instead.
    """
    network = unrolled(network).to(dtype).eval().requires_grad_(True)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train(not running)
    sums: dict[str, Sums] = {}
    for inputs, targets in batches:
        recorder = Recorder(network, sums, real_tokens(inputs))
        with recorder.recording(), floats_are(dtype if stubborn else None):
            output = called(network, inputs, dtype)
        add_gradients(recorder, loss(output, targets))
    return sums


def add_gradients(recorder: Recorder, loss: Tensor) -> None:
    """Takes in δ of every recorded call that the loss depends on."""
    zeros = [call.zero for call in recorder.calls]
    deltas = torch.autograd.grad(loss, zeros, allow_unused=True)
    for call, delta in zip(recorder.calls, deltas, strict=True):
        if delta is not None:
            own = recorder.sums[call.name]
            rows = split(delta, call.channels, call.groups, call.real)
            own.rows += rows.shape[1]
            own.grads = own.grads + rows.mT @ rows


def real_tokens(inputs: Any) -> Tensor | None:
    """Which tokens (N, T) an attention mask keeps, where there is one."""
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    return None if mask is None else mask.bool()


def summed_loss(name: str) -> Loss:
    """condcli's losses by name, as docs/numbers.md defines them; `auto` goes by the targets."""

    def of(output: Any, target: Tensor) -> Tensor:
        scores: Tensor = output if isinstance(output, Tensor) else output.logits
        chosen = name
        if name == "auto":
            chosen = "mse" if target.is_floating_point() else "cross-entropy"
        if chosen == "cross-entropy":
            last = scores.shape[:-1] == target.shape
            scores = scores.movedim(-1, 1) if last else scores
            return F.cross_entropy(scores, target, reduction="sum")
        apart = F.mse_loss if chosen == "mse" else F.binary_cross_entropy_with_logits
        each: Tensor = apart(scores, target.to(scores.dtype), reduction="none")
        return each.flatten(1).mean(1).sum()

    return of


def called(network: nn.Module, inputs: Any, dtype: torch.dtype) -> Any:
    if isinstance(inputs, Mapping):
        return network(**{name: cast(tensor, dtype) for name, tensor in inputs.items()})
    if isinstance(inputs, tuple):
        return network(*(cast(tensor, dtype) for tensor in inputs))
    return network(cast(inputs, dtype))


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


@contextmanager
def floats_are(dtype: torch.dtype | None) -> Iterator[None]:
    """Inside, the floating-point numbers that code makes by default have this type, if any."""
    if dtype is None:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with replaced(Tensor, ["float"], lambda _: lambda tensor: tensor.to(dtype)):
            yield
    finally:
        torch.set_default_dtype(before)

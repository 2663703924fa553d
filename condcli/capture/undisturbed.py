"""A model lent for probing and handed back exactly as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from condcli.capture.options import Options
from condcli.errors import InputError


@contextmanager
def undisturbed(
    model: nn.Module, options: Options, *, channels_last: bool = False
) -> Iterator[None]:
    """The model ready to probe; on leaving, everything is what it was, bit for bit.

    Inside, floating-point parameters and buffers are on ``device`` in ``dtype``, the weights of 2-D
    convolutions in the memory format ``channels_last`` if so told, every parameter takes
    gradients, no hook of a parameter runs, dropout is off, batch normalisation uses batch
    statistics (``norm="batch"``) or its running ones, and random numbers start from ``seed``.
    Parameters keep their identity. Raises InputError for inference tensors, which cannot, and for
    parameters that have no shape before a first call.
    """
    if any(is_lazy(p) for p in model.parameters()):
        raise InputError(
            "the model has lazy modules, whose parameters have no shape yet",
            "call it on a batch once, or load a checkpoint into it",
        )
    if any(p.is_inference() for p in model.parameters()):
        raise InputError(
            "the model was made in torch.inference_mode and cannot take gradients",
            "make or load it outside",
        )
    dtype, device = options.dtype, options.device
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(random_state_kept(options.seed, device))
        stack.enter_context(product_precision(options.autocast))
        stack.enter_context(_training_flags(model, options.norm))
        stack.enter_context(_no_parameter_hooks(model))
        stack.enter_context(_parameters(model, dtype, device, channels_last=channels_last))
        stack.enter_context(_buffers(model, dtype, device))
        stack.enter_context(attributes_kept(model))
        yield


@contextmanager
def random_state_kept(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, torch's random numbers start at ``seed``; all go on from where they were before."""
    python, numpy_state = random.getstate(), np.random.get_state()
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)


@contextmanager
def product_precision(autocast: str) -> Iterator[None]:
    """float32 means float32: TF32 keeps ten bits, which κ would show.

    Under autocast all rows have eight bits: products in TF32 are then exact, and quick.
    """
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if autocast == "none" else "high")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


@contextmanager
def _training_flags(model: nn.Module, norm: str) -> Iterator[None]:
    # The flag itself, not train(): models override that to keep some layers frozen.
    flags = {module: module.training for module in model.modules()}
    for module in flags:
        module.training = norm == "batch" and isinstance(module, _BatchNorm)
    try:
        yield
    finally:
        for module, training in flags.items():
            module.training = training


@contextmanager
def _parameters(
    model: nn.Module, dtype: torch.dtype, device: torch.device, *, channels_last: bool
) -> Iterator[None]:
    kept = [(p, p.data, p.grad, p.requires_grad) for p in model.parameters()]
    try:
        for parameter, *_ in kept:
            parameter.grad = None
            data = _converted(parameter.data, dtype, device)
            parameter.data = in_channels_last(data) if channels_last else data
            parameter.requires_grad_(parameter.is_floating_point())
        yield
    finally:
        for parameter, data, grad, requires_grad in kept:
            parameter.grad = None  # a gradient must fit its parameter at every moment
            parameter.data = data
            parameter.grad = grad
            parameter.requires_grad_(requires_grad)


@contextmanager
def _no_parameter_hooks(model: nn.Module) -> Iterator[None]:
    """An optimizer may step in such a hook, or a gradient be masked."""
    registries = [
        hooks
        for p in model.parameters()
        for hooks in (p._backward_hooks, p._post_accumulate_grad_hooks)
        if hooks
    ]
    kept = [dict(hooks) for hooks in registries]
    try:
        for hooks in registries:  # emptied, not replaced: autograd holds on to these very dicts
            hooks.clear()
        yield
    finally:
        for hooks, entries in zip(registries, kept, strict=True):
            hooks.update(entries)


@contextmanager
def _buffers(model: nn.Module, dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Copies in place of the buffers: batch normalisation updates its running statistics."""
    kept = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    copies = {id(buffer): _converted(buffer, dtype, device).clone() for *_, buffer in kept}
    try:
        for module, name, buffer in kept:
            module._buffers[name] = copies[id(buffer)]
        yield
    finally:
        for module, name, buffer in kept:
            module._buffers[name] = buffer


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """Each module's own attributes as they were: some keep a state from one call to the next.

    Such a state would hold on to the graph of its batch, and let the batches before count.
    """
    kept = [(module, dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for module, attributes in kept:
            vars(module).clear()
            vars(module).update(attributes)


def _converted(tensor: torch.Tensor, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else None)


def in_channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in that memory format, if it is a batch of maps or a weight that takes them."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor

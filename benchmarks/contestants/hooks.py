"""What one writes without a library: two hooks a layer, unfold, and a product. In float64 it is
the reference that all are compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.workloads import Task

Sums = dict[str, tuple[Tensor, int]]  # Σ v vᵀ over rows, and the rows
Factors = dict[str, tuple[Tensor, Tensor]]


def prepare(task: Task) -> Callable[[], tuple[Sums, Sums]]:
    """A run that hooks all layers, and returns the sums of x xᵀ and of δ δᵀ."""
    conv = task.workload.conv

    def run() -> tuple[Sums, Sums]:
        inputs: Sums = {}
        grads: Sums = {}
        task.model.zero_grad()
        hooks = [
            layer.register_forward_hook(_hook(name, conv, inputs, grads))
            for name, layer in task.layers.items()
        ]
        for batch in task.batches():
            task.loss(batch).backward()
        for hook in hooks:
            hook.remove()
        return inputs, grads

    return run


def factors(task: Task, result: tuple[Sums, Sums]) -> Factors:
    """The sums divided by their rows."""
    inputs, grads = result
    return {name: (_mean(*inputs[name]), _mean(*grads[name])) for name in inputs}


def _hook(name: str, conv: str, inputs: Sums, grads: Sums) -> Callable[..., None]:
    def hook(layer: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        _add(inputs, name, _input_rows(layer, args[0].detach(), conv))
        output.register_hook(lambda grad: _add(grads, name, _rows(grad)))

    return hook


def _input_rows(layer: nn.Module, x: Tensor, conv: str) -> Tensor:
    if not isinstance(layer, nn.Conv2d) or conv == "channels":
        return _rows(x)
    patches = functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return patches.transpose(1, 2).flatten(0, 1)


def _rows(x: Tensor) -> Tensor:
    """(rows, features) of a feature map (N, C, H, W) or of features (…, C)."""
    return (x.movedim(1, -1) if x.dim() == 4 else x).flatten(0, -2)


def _add(sums: Sums, name: str, rows: Tensor) -> None:
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    total, count = sums.get(name, (0, 0))
    sums[name] = (total + rows.T @ rows, count + len(rows))


def _mean(total: Tensor, rows: int) -> Tensor:
    return total / rows

"""Forward and backward without weight gradients: what kronfluence and nngeometry ride on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from benchmarks.workloads import Task

Factors = dict[str, tuple[object, object]]


def prepare(task: Task) -> Callable[[], None]:
    """A run over all batches, back to the output of the first layer."""
    task.model.requires_grad_(False)
    first = next(iter(task.layers.values()))
    first.register_forward_hook(_ask_for_gradient)

    def run() -> None:
        for batch in task.batches():
            task.loss(batch).backward()

    return run


def factors(task: Task, result: None) -> Factors:
    """None: a bare pass has no factors."""
    return {}


def _ask_for_gradient(layer: nn.Module, args: Any, output: Tensor) -> None:
    output.requires_grad_()

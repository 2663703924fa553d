"""Forward and backward, weight gradients included: the pass that the factors ride on."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.workloads import Task

Factors = dict[str, tuple[object, object]]


def prepare(task: Task) -> Callable[[], None]:
    """A run over all batches; the gradients add up in ``.grad``."""

    def run() -> None:
        task.model.zero_grad()
        for batch in task.batches():
            task.loss(batch).backward()

    return run


def factors(task: Task, result: None) -> Factors:
    """None: a bare pass has no factors."""
    return {}

"""condcli, through its public API and with its defaults, but for running BN statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.workloads import Task
from condcli import ProbeStats, probe

Factors = dict[str, tuple[Any, Any]]


def prepare(task: Task) -> Callable[[], ProbeStats]:
    """A whole probe; ``pass_seconds`` says how long its passes took."""
    workload = task.workload
    options: dict[str, Any] = {"autocast": task.autocast} if task.autocast else {}

    def run() -> ProbeStats:
        return probe(
            task.model,
            (task.x, task.y),
            samples=None,
            loss="cross-entropy",
            conv=workload.conv,
            norm="running",
            device=str(task.x.device),
            batch_size=workload.batch,
            layers=tuple(task.layers),
            fisher=task.fisher,
            **options,
        )

    return run


def pass_seconds(result: ProbeStats) -> float:
    """The passes with their accumulation, without the data's digest and the singular values."""
    return result.provenance.pass_seconds


def factors(task: Task, result: ProbeStats) -> Factors:
    """The moments as they are."""
    return {name: (x.input_moment, x.grad_moment) for name, x in result.layers.items()}

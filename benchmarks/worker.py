"""One contestant in a process of its own: `python -m benchmarks.worker SPEC`, started by race.py.

It builds the workload, and then answers one line of JSON for each line it reads: `run` times one
run, `save FOLDER` keeps the last run's factors, `compare FOLDER` compares them with kept ones.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from benchmarks.contestants import contestant
from benchmarks.memory import peak_bytes, reset_peak
from benchmarks.workloads import (
    GPU_WORKLOADS,
    SCALED_WORKLOADS,
    WORKLOADS,
    Task,
    build,
    reference,
    shrunk,
)


class Worker:
    """A contestant at one workload."""

    def __init__(self, library: ModuleType, task: Task) -> None:
        self._library, self._task = library, task
        self._run = library.prepare(task)
        reset_peak(task.x.device)
        self._start_bytes = peak_bytes(task.x.device)
        self._result: Any = None

    def run(self) -> dict[str, float]:
        """Seconds of one run, of the whole call where the pass is only a part, and bytes."""
        self._result = None
        start = time.perf_counter()
        self._result = self._run()
        if self._task.x.is_cuda:
            torch.cuda.synchronize()
        whole = time.perf_counter() - start
        timed = getattr(self._library, "pass_seconds", None)
        return {
            "seconds": timed(self._result) if timed else whole,
            "whole_seconds": whole,
            "peak_bytes": peak_bytes(self._task.x.device),
            "start_bytes": self._start_bytes,
        }

    def save(self, folder: str) -> dict[str, int]:
        """How many layers' factors were kept in ``folder``."""
        factors = self._factors()
        for name, pair in factors.items():
            for side, matrix in zip(("x", "h"), pair, strict=True):
                np.save(Path(folder) / f"{name}.{side}.npy", matrix)
        return {"layers": len(factors)}

    def compare(self, folder: str) -> dict[str, float | int | None]:
        """The largest relative Frobenius error of Σ_x and of Σ_∇h over the layers of ``folder``."""
        factors = self._factors()
        return {
            "layers": len(factors),
            "factor_bytes": sum(
                m.nbytes for pair in factors.values() for m in pair if m is not None
            ),
            "input_error": _largest_error(factors, Path(folder), 0),
            "grad_error": _largest_error(factors, Path(folder), 1),
        }

    def _factors(self) -> dict[str, tuple[np.ndarray | None, ...]]:
        found = self._library.factors(self._task, self._result)
        return {
            name: tuple(None if m is None else np.asarray(torch.as_tensor(m).cpu()) for m in pair)
            for name, pair in found.items()
        }


def _largest_error(factors: dict[str, Any], folder: Path, side: int) -> float | None:
    errors = []
    for name, pair in factors.items():
        if pair[side] is None:
            continue
        truth = np.load(folder / f"{name}.{'xh'[side]}.npy")
        matrix = np.asarray(pair[side], np.float64).reshape(truth.shape)
        errors.append(float(np.linalg.norm(matrix - truth) / np.linalg.norm(truth)))
    return max(errors, default=None)


def main() -> None:
    """Answer until the input ends."""
    spec = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not stand between the answers
    torch.set_num_threads(spec["threads"])
    workloads = WORKLOADS | GPU_WORKLOADS | SCALED_WORKLOADS
    workload = shrunk(workloads[spec["workload"]], spec["shrink"])
    task = build(workload, device=spec["device"], autocast=spec["autocast"], fisher=spec["fisher"])
    if spec["reference"]:
        task = reference(task)
    worker = Worker(contestant(spec["contestant"]), task)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        answer = getattr(worker, command)(*([argument] if argument else []))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

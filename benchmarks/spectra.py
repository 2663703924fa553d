"""The eigenvalues of the ResNet-18 patches file, by condcli and by single LAPACK calls.

`python -m benchmarks.spectra`. Each solver has a process of its own, started anew in each round,
and only the solving is timed: a LAPACK call has all threads, condcli looks at a layer in each, as
its commands do. `--solver` runs one of them on a file: that is such a process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import condcli
from benchmarks.document import keep, number, origin, table
from benchmarks.machine import machine
from benchmarks.workloads import WORKLOADS, build, shrunk
from condcli.commands import workers
from condcli.stats import FloatArray, ProbeStats

Seconds = dict[str, float]  # by matrix, or as a whole
Largest = dict[str, float]  # λ_max by matrix


def main() -> None:
    """Solve one file, or race the solvers on a new one."""
    options = _parsed()
    if options.solver:
        seconds, largest = SOLVERS[options.solver](condcli.read(options.file))
        print(json.dumps({"seconds": seconds, "largest": largest}))
        return
    facts = machine(threads=options.threads)
    runs = _race(options)
    text = f"{origin(facts)}\n\n{_table(runs)}"
    print(text)
    if options.write:
        keep("spectra", text, {"machine": facts, "runs": runs}, document=options.write)


def _whole(stats: ProbeStats) -> tuple[Seconds, Largest]:
    start = time.perf_counter()
    rows = condcli.spectrum(stats, workers=workers())
    seconds = time.perf_counter() - start
    return {"all": seconds}, {
        f"{row.layer} {side}": getattr(row, f"lambda_max_{side}")
        for row in rows
        for side in ("input", "grad")
    }


def _top(stats: ProbeStats) -> tuple[Seconds, Largest]:
    start = time.perf_counter()
    rows = condcli.leading_eigenvalues(stats, 1, workers=workers())
    seconds = time.perf_counter() - start
    return {"all": seconds}, {
        f"{row.layer} {side}": getattr(row, f"lambda_k_{side}")
        for row in rows
        for side in ("input", "grad")
    }


def _lapack(solve: Callable[[FloatArray], FloatArray]) -> Callable[..., tuple[Seconds, Largest]]:
    def solve_all(stats: ProbeStats) -> tuple[Seconds, Largest]:
        seconds: Seconds = {}
        largest: Largest = {}
        for name, matrix in _matrices(stats):
            start = time.perf_counter()
            found = solve(matrix.astype(np.float64))
            seconds[name], largest[name] = time.perf_counter() - start, float(found[-1])
        return seconds, largest

    return solve_all


def _numpy(matrix: FloatArray) -> FloatArray:
    return np.linalg.eigvalsh(matrix)


def _scipy(driver: str) -> Callable[[FloatArray], FloatArray]:
    from scipy.linalg import eigh

    return lambda matrix: eigh(matrix, eigvals_only=True, driver=driver)


def _torch(matrix: FloatArray) -> FloatArray:
    import torch

    return torch.linalg.eigvalsh(torch.from_numpy(matrix)).numpy()


SOLVERS: dict[str, Callable[[ProbeStats], tuple[Seconds, Largest]]] = {
    "condcli spectrum": _whole,
    "condcli spectrum --top 1": _top,
    "numpy eigvalsh": _lapack(_numpy),
    "scipy eigh, evr": _lapack(_scipy("evr")),
    "scipy eigh, evd": _lapack(_scipy("evd")),
    "torch eigvalsh": _lapack(_torch),
}


def _matrices(stats: ProbeStats) -> Iterator[tuple[str, FloatArray]]:
    for layer in stats.layers.values():
        yield f"{layer.name} input", layer.input_moment
        yield f"{layer.name} grad", layer.grad_moment


def _race(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """What each solver answered in each round."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "resnet18.h5"
        _measure(file, options.shrink)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SOLVERS}
        for _ in range(options.rounds):
            for name, done in runs.items():
                done.append(_in_process(name, file, threads=options.threads))
    return runs


def _measure(file: Path, shrink: int) -> None:
    workload = shrunk(WORKLOADS["resnet18-patches"], shrink)
    task = build(replace(workload, batch=min(8, workload.examples)))
    stats = condcli.probe(
        task.model, (task.x, task.y), conv="patches", norm="running", batch_size=8
    )
    condcli.write(stats, file)


def _in_process(solver: str, file: Path, *, threads: int) -> dict[str, Any]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    if solver.startswith("condcli"):
        environment["OPENBLAS_NUM_THREADS"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.spectra", "--solver", solver, "--file", str(file)],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _table(runs: dict[str, list[dict[str, Any]]]) -> str:
    truth = runs["numpy eigvalsh"][0]["largest"]
    medians = {name: _medians(done) for name, done in runs.items()}
    totals = {name: sum(seconds.values()) for name, seconds in medians.items()}
    single = [seconds for seconds in medians.values() if "all" not in seconds]
    totals["the best LAPACK call for each matrix"] = best = sum(
        min(seconds[name] for seconds in single) for name in truth
    )
    rows = [
        [name, number(total), number(total / best), number(_error(runs.get(name), truth), ".0e")]
        for name, total in totals.items()
    ]
    return table(["", "seconds", "× best LAPACK", "λ_max off by"], rows)


def _medians(done: list[dict[str, Any]]) -> Seconds:
    return {
        name: statistics.median(run["seconds"][name] for run in done) for name in done[0]["seconds"]
    }


def _error(done: list[dict[str, Any]] | None, truth: Largest) -> float | None:
    """The largest relative distance of a λ_max from NumPy's."""
    if done is None:
        return None
    return max(abs(done[0]["largest"][name] - value) / value for name, value in truth.items())


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spectra", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--shrink", type=int, default=1, help="by how much fewer examples")
    parser.add_argument("--write", type=Path, metavar="docs/performance.md")
    parser.add_argument("--solver", choices=SOLVERS)
    parser.add_argument("--file", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""ResNet-50 at 224² on a CUDA device: `python -m benchmarks.gpu` (`make bench-gpu`).

Batches of 256, both views of convolutions, in float32 and under bfloat16 autocast, each beside a
bare pass of the same precision; then the eigenvalues of the same matrices on CPU and GPU.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

import condcli
from benchmarks.document import keep, number, origin, table
from benchmarks.machine import machine
from benchmarks.race import Setting, race
from benchmarks.run import section
from benchmarks.workloads import GPU_WORKLOADS, build, shrunk
from condcli.capture.eigensolver import eigenvalues_on
from condcli.stats import ProbeStats

PRECISIONS = (None, "bfloat16")


def main() -> None:
    """Race on the device, print, and write where asked."""
    options = _parsed()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu needs a CUDA device, and torch finds none")
    facts = machine(threads=torch.get_num_threads()) | _device()
    sections, raw = [origin(facts) + "\n"], {}
    print(sections[0])
    for name in GPU_WORKLOADS:
        for autocast in PRECISIONS:
            setting = Setting(
                workload=name, shrink=options.shrink, device="cuda", autocast=autocast
            )
            results = race(setting, ["bare", "condcli"], rounds=options.rounds)
            caption = shrunk(GPU_WORKLOADS[name], options.shrink).caption
            sections.append(section(f"{caption}, {autocast or 'float32'}", results))
            raw[f"{name} {autocast or 'float32'}"] = [asdict(result) for result in results]
            print(sections[-1], flush=True)
    sections.append(_spectra(options.rounds))
    print(sections[-1])
    if options.write:
        keep("gpu", "\n".join(sections), {"machine": facts, "runs": raw}, document=options.write)


def _device() -> dict[str, str]:
    return {"device": torch.cuda.get_device_name(), "CUDA": str(torch.version.cuda)}


def _spectra(rounds: int) -> str:
    """The time of all eigenvalues of the patch factors, on CPU and GPU."""
    task = build(shrunk(GPU_WORKLOADS["resnet50-patches"], 32), device="cuda")
    data = (task.x, task.y)
    stats = condcli.probe(task.model, data, conv="patches", norm="running", batch_size=len(task.x))
    cuda = torch.device("cuda")
    solvers: dict[str, Callable[..., np.ndarray]] = {
        "CPU": np.linalg.eigvalsh,
        "GPU": lambda matrices: eigenvalues_on(cuda, matrices),
    }
    seconds = {name: _solving(stats, solve, rounds) for name, solve in solvers.items()}
    rows = [[f"`condcli spectrum` on {name}", number(value)] for name, value in seconds.items()]
    return table(["ResNet-50, patches", "seconds"], rows)


def _solving(stats: ProbeStats, solve: Callable[..., np.ndarray], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        condcli.spectrum(stats, solve=solve)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shrink", type=int, default=1, help="by how much fewer examples")
    parser.add_argument("--write", type=Path, metavar="docs/performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()

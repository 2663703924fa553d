"""Whole commands, process start included: `python -m benchmarks.commands`.

`condcli probe` and `condcli spectrum` on a checkpoint and a file of arrays, against a script for
each other library that builds the same model and data, computes the factors, saves them, and finds
their eigenvalues with torch. `--script` is such a script. This process stays small, for what it
holds would count in the peaks of those that it starts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, contestant
from benchmarks.document import keep, megabytes, number, origin, table
from benchmarks.machine import machine, versions

ROOT = Path(__file__).parents[1]
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024

# Workload to how condcli is told of it.
OPTIONS: dict[str, list[str]] = {
    "mlp": ["--arch", "mlp", "--batch-size", "1024"],
    "resnet18-patches": ["--arch", "torchvision:resnet18", "--batch-size", "8"],
}
SAME = "--samples all --normalize none --loss cross-entropy --conv patches --norm running --force"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run from start to end."""

    saved_seconds: float  # until the factors were in a file
    seconds: float  # until their eigenvalues were known
    peak_bytes: int


def main() -> None:
    """Compare, or be one of the scripts."""
    options = _parsed()
    if options.script:
        return _script(options.script, options.workload[0], options.folder)
    facts = machine(threads=options.threads) | versions(CONTESTANTS.values())
    sections, raw = [origin(facts)], {}
    for workload in options.workload:
        runs = _race(workload, options)
        sections.append(f"### {workload}\n\n{_table(runs)}")
        raw[workload] = {name: [asdict(run) for run in done] for name, done in runs.items()}
    text = "\n\n".join(sections)
    print(text)
    if options.write:
        keep("commands", text, {"machine": facts, "workloads": raw}, document=options.write)


def _script(name: str, workload: str, folder: Path) -> None:
    """Factors and eigenvalues by one library; or what condcli is given, for `condcli`."""
    import numpy as np
    import torch

    from benchmarks.workloads import WORKLOADS, build

    task = build(WORKLOADS[workload])
    if name == "condcli":
        torch.save(task.model.state_dict(), folder / "model.pt")
        np.savez(folder / "data.npz", x=task.x.numpy(), y=task.y.numpy())
        return
    library = contestant(name)
    factors = library.factors(task, library.prepare(task)())
    torch.save(factors, folder / "factors.pt")
    print("saved", flush=True)
    for pair in factors.values():
        for matrix in pair:
            torch.linalg.eigvalsh(matrix.double())


def _race(workload: str, options: argparse.Namespace) -> dict[str, list[Run]]:
    with tempfile.TemporaryDirectory() as folder:
        steps = {name: _commands(name, workload, folder) for name in options.only}
        _run([_script_command("condcli", workload, folder)], options.threads)
        runs: dict[str, list[Run]] = {name: [] for name in steps}
        for _ in range(options.rounds):
            for name, done in runs.items():
                done.append(_run(steps[name], options.threads))
    return runs


def _commands(name: str, workload: str, folder: str) -> list[list[str]]:
    if name != "condcli":
        return [_script_command(name, workload, folder)]
    condcli = [sys.executable, "-m", "condcli"]
    model, data, stats = (f"{folder}/{file}" for file in ("model.pt", "data.npz", "stats.h5"))
    probe = ["probe", model, "--data", data, "-o", stats, *OPTIONS[workload], *SAME.split()]
    return [[*condcli, *probe], [*condcli, "spectrum", stats]]


def _script_command(name: str, workload: str, folder: str) -> list[str]:
    module = [sys.executable, "-W", "ignore", "-m", "benchmarks.commands"]
    return [*module, "--script", name, "--workload", workload, "--folder", folder]


def _run(commands: Sequence[Sequence[str]], threads: int) -> Run:
    """The commands one after the other; the first, or a line that says so, ends the saving."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    saved, peak, start = 0.0, 0, time.perf_counter()
    for command in commands:
        with subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            for line in process.stdout or ():
                if line.startswith("saved"):
                    saved = time.perf_counter() - start
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with code {process.returncode}")
        saved = saved or time.perf_counter() - start
        peak = max(peak, usage.ru_maxrss * PEAK_UNIT)
    return Run(saved_seconds=saved, seconds=time.perf_counter() - start, peak_bytes=peak)


def _table(runs: dict[str, list[Run]]) -> str:
    rows = [
        [
            "`condcli probe … && condcli spectrum …`" if name == "condcli" else name,
            number(statistics.median(run.saved_seconds for run in done), ".1f"),
            number(statistics.median(run.seconds for run in done), ".1f"),
            megabytes(statistics.median(run.peak_bytes for run in done)),
        ]
        for name, done in runs.items()
    ]
    return table(["", "s until saved", "s until eigenvalues", "peak MB"], rows)


def _parsed() -> argparse.Namespace:
    def listed(text: str) -> list[str]:
        return text.split(",")

    able = ["condcli", "hooks", "kronfluence", "curvlinops", "nngeometry", "asdl"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commands", description=__doc__)
    parser.add_argument("--workload", type=listed, default=list(OPTIONS))
    parser.add_argument("--only", type=listed, default=able)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--write", type=Path, metavar="docs/performance.md")
    parser.add_argument("--script", choices=able)
    parser.add_argument("--folder", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Contestants side by side: a process each, timed in turn, round after round."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAUSE = 0.5  # seconds; OpenMP threads spin for a while after their work


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is raced on, the same for every contestant."""

    workload: str
    shrink: int = 1  # by how much fewer examples
    device: str = "cpu"
    autocast: str | None = None
    fisher: str = "empirical"  # whose factors: that, mc or exact
    threads: int = os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one contestant: medians over the rounds, or why there is nothing."""

    contestant: str
    failure: str = ""
    seconds: float | None = None  # of the passes with their accumulation
    whole_seconds: float | None = None  # of the call that a user makes
    all_seconds: tuple[float, ...] = ()  # of the passes, by round
    start_bytes: int | None = None  # held before the first run: libraries, model and data
    peak_bytes: int | None = None  # held at most
    layers: int | None = None  # whose factors came back
    factor_bytes: int | None = None  # that these take
    input_error: float | None = None  # largest relative Frobenius error of Σ_x
    grad_error: float | None = None  # the same of Σ_∇h


class Process:
    """A contestant's process, which answers until it fails; ``failure`` then says why."""

    def __init__(
        self, setting: Setting, contestant: str, folder: Path, *, reference: bool = False
    ) -> None:
        self.contestant, self.failure = contestant, ""
        self._errors = folder / f"{contestant}.txt"
        spec = asdict(setting) | {"contestant": contestant, "reference": reference}
        threads = str(setting.threads)
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "benchmarks.worker", json.dumps(spec)],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, command: str) -> dict[str, Any] | None:
        """The answer to a command, or None from a process that has failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self.failure:
            return None
        try:
            print(command, file=self._process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
            return answer
        except (BrokenPipeError, json.JSONDecodeError):
            self.failure = self._last_words()
            return None

    def _last_words(self) -> str:
        code = self._process.wait()
        lines = self._errors.read_text().strip().splitlines()
        if not lines:
            return f"ended with code {code}"
        return lines[-1].removeprefix("benchmarks.contestants.Unsupported: ")


def race(
    setting: Setting, contestants: Sequence[str], *, rounds: int, reference: str | None = "hooks"
) -> list[Result]:
    """One result a contestant, in their order; the first run of each is not timed.

    The factors of all are compared with those of the ``reference``, a contestant in float64.
    """
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        if reference:
            _save_reference(setting, reference, folder)
        processes = []
        for name in contestants:
            process = stack.enter_context(Process(setting, name, folder))
            process.ask("run")  # which also waits for it to be ready
            processes.append(process)
        runs = [[_after_pause(process) for process in processes] for _ in range(rounds)]
        errors = [process.ask(f"compare {folder}") if reference else {} for process in processes]
    return [
        _result(process, list(of_process), error)
        for process, of_process, error in zip(
            processes, zip(*runs, strict=True), errors, strict=True
        )
    ]


def _after_pause(process: Process) -> dict[str, Any] | None:
    """A run's answer, once the threads of the contestant before have gone to sleep."""
    time.sleep(PAUSE)
    return process.ask("run")


def _save_reference(setting: Setting, contestant: str, folder: Path) -> None:
    with Process(setting, contestant, folder, reference=True) as process:
        process.ask("run")
        if not process.ask(f"save {folder}"):
            raise SystemExit(f"the reference in float64 failed: {process.failure}")


def _result(process: Process, runs: list[Any], errors: dict[str, Any] | None) -> Result:
    if errors is None or process.failure:
        return Result(contestant=process.contestant, failure=process.failure)
    return Result(
        contestant=process.contestant,
        seconds=statistics.median(run["seconds"] for run in runs),
        whole_seconds=statistics.median(run["whole_seconds"] for run in runs),
        all_seconds=tuple(round(run["seconds"], 4) for run in runs),
        start_bytes=runs[-1]["start_bytes"],
        peak_bytes=runs[-1]["peak_bytes"],
        **errors,
    )

"""A probe in less and less address space: it finishes, or is refused with numbers.

`python -m tests.reliability.sweep_memory` tells of each limit on stderr, and of all in one line:
probes in children of a process that has imported torch, which have from nothing to 1 GiB for
themselves in steps of 32 MiB, and reading commands in processes of their own, from 128 to 448 MiB
in steps of 16; with `--start`, probes in processes of their own, from 256 MiB up to what torch and
the probe take.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from condcli import machine
from condcli.statsfile import read, write
from tests.reliability.invariants import leaves_nothing, says_one_line, state
from tests.reliability.runner import ROOT, Outcome, Runner
from tests.synthetic import diagonal, layer, stats

STEP = 32
MOST = {True: 4096, False: 1024}  # MiB, of a process of its own or not
READINGS = range(128, 449, 16)  # MiB
READ = ["spectrum", "read.h5", "--format", "csv"]
COMMAND = ["probe", "weights.pt", "--arch", "net.py:net", "--data", "data.npz", "-o", "stats.h5"]
NUMBERS = re.compile(r"\d [KMG]iB|a batch of \d+ examples")
NETWORK = """
from torch import nn
def net():
    return nn.Sequential(nn.Linear(64, 1400), nn.ReLU(), nn.Linear(1400, 1400), nn.Linear(1400, 10))
"""


def allow() -> None:
    """Let this process, in which torch is there already, have as many bytes more as MORE says."""
    size = 1024 * int(machine._field(Path("/proc/self/status"), "VmSize:") or 0)
    most = size + int(os.environ["MORE"])
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def plant(folder: Path) -> None:
    """A network whose moments take about 100 MiB, data, and statistics that take some solving."""
    small, large = diagonal(*np.linspace(1, 2, 300)), np.diag(np.arange(600) % 8.0)  # few rows
    write(stats(layer("fc", small, large)), folder / "read.h5")
    (folder / "net.py").write_text(NETWORK)
    model = nn.Sequential(
        nn.Linear(64, 1400), nn.ReLU(), nn.Linear(1400, 1400), nn.Linear(1400, 10)
    )
    torch.save(model.state_dict(), folder / "weights.pt")
    source = np.random.default_rng(0)
    x = source.standard_normal((300, 64)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.arange(300) % 10)


def ends_as_promised(runner: Runner, folder: Path, more: int) -> Outcome:
    """Probe with so many MiB; assert that it finishes, or says with numbers why not."""
    (folder / "stats.h5").unlink(missing_ok=True)
    before = state(folder)
    outcome = runner.run(
        COMMAND,
        folder,
        env={"MORE": str(more * machine.MIB)},
        inject="tests.reliability.sweep_memory:allow",
        timeout=90,
    )
    if outcome.code == 0:
        assert len(read(folder / "stats.h5").layers) == 3
        (folder / "stats.h5").unlink()
    else:
        assert outcome.code == 5, outcome
        says_one_line(outcome, "")
        assert NUMBERS.search(outcome.err), outcome.err
    leaves_nothing(outcome, folder, before)
    return outcome


def starts_as_promised(
    folder: Path, most: int, command: Sequence[str] = (*COMMAND, "--force")
) -> tuple[int, str]:
    """The same in a process of its own, of so many MiB in all; the exit code, and the error."""
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (most * machine.MIB,) * 2)
    done = subprocess.run(
        [sys.executable, "-m", "condcli", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        preexec_fn=limit,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 5), (most, done)
    if done.returncode:
        assert done.stdout == ""
        assert re.fullmatch(r"condcli: error: .*; .*\n", done.stderr), done.stderr
        assert NUMBERS.search(done.stderr), done.stderr
    return done.returncode, done.stderr


def main(arguments: list[str]) -> None:
    """Tell what became of every limit, and of all; AssertionError where a promise is broken."""
    own, codes = "--start" in arguments, Counter[int]()
    first, last = ([int(a) for a in arguments if a.isdecimal()] + [0, 0])[:2]
    limits = range(first or (256 if own else 0), last or MOST[own], STEP)
    readings = () if arguments else READINGS
    with tempfile.TemporaryDirectory() as name, Runner() as runner:
        plant(folder := Path(name))
        for limit in limits:
            if own:
                code, said = starts_as_promised(folder, limit)
            else:
                outcome = ends_as_promised(runner, folder, limit)
                code, said = outcome.code, outcome.err
            codes[code] += 1
            print(f"{limit:5} MiB: exit {code}  {said.strip()[:160]}", file=sys.stderr)
        for limit in readings:
            code, said = starts_as_promised(folder, limit, READ)
            codes[code] += 1
            print(f"{limit:5} MiB, reading: exit {code}  {said.strip()[:160]}", file=sys.stderr)
    whose = "in all" if own else "for themselves"
    read = f", and reading commands with {readings[0]} to {readings[-1]} MiB in all"
    print(
        f"{codes.total()} runs, probes with {limits[0]} to {limits[-1]} MiB {whose}"
        f"{read if readings else ''}: {codes[0]} with exit code 0, {codes[5]} with exit code 5"
    )


if __name__ == "__main__":
    main(sys.argv[1:])

"""1,000 checkpoints in one call: the bad ones are named, the others are probed, memory stays flat.

`python -m tests.reliability.sweep_series` prints what it took; test_series.py tries 60.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from condcli.models import ZOO, write_checkpoint
from condcli.statsfile import read

CHECKPOINTS = 1000
BAD = (17, 400, 999)
WARM = 100  # checkpoints after which memory is not to grow
GROWTH = 32 << 20  # bytes that the allocator may still find between checkpoints 100 and 1,000
COMMAND = ("probe", "--data", "digits", "--samples", "64", "-o", "run/")
ARGS = {"inputs": 64, "classes": 10, "depth": 3, "width": 16}


def save(folder: Path) -> list[str]:
    """The names of small networks' checkpoints, of which three are damaged in some way."""
    names = []
    for number in range(CHECKPOINTS):
        torch.manual_seed(number)
        names.append(f"epoch_{number:04}.pt")
        path = folder / names[-1]
        state = ZOO["mlp"](**ARGS).state_dict()
        if number == BAD[1]:
            next(iter(state.values()))[0, 0] = float("nan")
        write_checkpoint(path, state, arch="mlp", arch_args=ARGS, step=number)
    os.truncate(folder / names[BAD[0]], 1000)
    (folder / names[BAD[2]]).unlink()
    return names


def resident(process: int) -> int:
    """Bytes of memory that a process has; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def sweep(folder: Path) -> str:
    """Probe all; what it took. AssertionError where something is not as promised."""
    names = save(folder)
    start = time.monotonic()
    with (
        open(folder / "err", "w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "condcli", *COMMAND, *names],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        memory = [resident(process.pid) for _ in process.stdout]  # a line for each
    seconds = time.monotonic() - start
    err = (folder / "err").read_text().splitlines()
    assert process.returncode == 3
    assert err[-1].startswith(f"condcli: error: {len(BAD)} of {CHECKPOINTS} checkpoints could not")
    assert all(names[number] in err[-1] for number in BAD)
    assert len(list((folder / "run").iterdir())) == len(memory) == CHECKPOINTS - len(BAD)
    assert read(folder / "run" / "epoch_0500.h5").provenance.step == 500
    warm, most = memory[WARM], max(memory[WARM:])
    assert most - warm < GROWTH, (warm, most)
    return (
        f"{CHECKPOINTS} checkpoints, {len(BAD)} of them bad: {seconds:.0f} s, "
        f"{warm / 2**20:.0f} MiB after {WARM}, at most {most / 2**20:.0f} MiB later"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(sweep(Path(name)))

"""The benchmark of Recorder at miniature size, and what an unrecorded step may cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import condcli
from benchmarks.recorder import HEADINGS, Task, measured
from condcli.recorder import OFF

from .loops import mlp


def test_the_benchmark_records_and_has_a_number_for_each_heading() -> None:
    tiny = Task("tiny", mlp, lambda: (torch.randn(4, 6), torch.arange(4) % 3))
    row = measured(tiny, every=2, rounds=1, device="cpu")
    assert len(row) == len(HEADINGS)
    assert row[:2] == ["tiny", "2"]
    numbers = [float(cell.removesuffix(" %")) for cell in row[2:]]
    assert min(numbers[0::4] + numbers[1::4]) >= 0  # seconds without, and with


def test_a_step_that_is_not_recorded_makes_nothing(tmp_path: Path) -> None:
    """No object of its own, and no file."""
    with condcli.Recorder(mlp(), tmp_path, every=lambda number: False) as recorder:
        assert all(recorder.step() is OFF for _ in range(5))
    assert not [*tmp_path.iterdir()]


RECORDED = """
import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

import condcli
from condcli.models import ZOO

torch.set_num_threads(1)
model, x, y = ZOO["resnet"](depth=8), torch.randn(48, 3, 32, 32), torch.arange(48) % 10
recorder = condcli.Recorder(model, sys.argv[1], every=1, layers=("fc",))
for step in range(8):
    with recorder.step():
        cross_entropy(model(x), y).backward()
    recorder.wait()
    print(int(Path("/proc/self/statm").read_text().split()[1]))
recorder.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap, and /proc to look at it")
def test_recorded_steps_do_not_leave_more_and_more_memory_in_use(tmp_path: Path) -> None:
    """What lives longer lies between what is freed; each step left 2 % more."""
    command = [sys.executable, "-c", RECORDED, str(tmp_path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pages = [int(line) for line in told.split()]
    assert pages[-1] < 1.04 * pages[1]

"""The benchmark of Recorder at miniature size, and what an unrecorded step may cost."""

from __future__ import annotations

from pathlib import Path

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

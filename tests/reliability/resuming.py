"""A probe that takes its time, over a network with something of every kind; ended, and resumed."""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from tests.reliability.runner import Outcome, Runner

# Attributes that tell of a run and not of what it measured, and the digest over them all.
OF_A_RUN = {"created", "pass_seconds", "peak_memory_bytes", "blake2b"}
BATCHES = 8
PATIENCE = 300.0  # seconds for a probe that takes three, on a machine that has much else to do
NETWORK = """
import os, random, threading, time
import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

def end(seconds, numbers):
    if seconds:
        threading.Timer(seconds, end, (0, [*numbers])).start()
        return
    for number in numbers:
        os.kill(os.getpid(), number)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(inplace=True),
            nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 8, 3, stride=2, groups=2),
            nn.Dropout(0.5),
        )
        self.levels = nn.Embedding(17, 6, max_norm=1.0)
        self.rows = nn.LSTM(8, 5, batch_first=True)
        self.attention = nn.MultiheadAttention(5, 1, batch_first=True)
        self.wide = nn.Linear(8 * 9 + 6 + 5, 260)
        self.head = weight_norm(nn.Linear(260, 10))
        self.register_buffer("average", torch.zeros(64))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        time.sleep(0.03)
        self.calls += 1
        if len(x) > 3 and int(self.calls) == int(os.environ.get("END_AT", 0)):
            end(float(os.environ.get("END_AFTER", 0)), map(int, os.environ["END_BY"].split()))
        flat = x.flatten(1)
        self.average = 0.9 * self.average + 0.1 * flat.mean(0)
        noise = np.random.standard_normal() + random.gauss(0, 1) + float(torch.randn(()))
        levels = self.levels((flat * 16).long().clamp(0, 16)[:, int(self.calls) % 64])
        out, _ = self.rows(x[:, 0] + 0.01 * noise)
        out, _ = self.attention(out, out, out)
        maps = self.maps((flat - self.average).view_as(x))
        parts = [maps.flatten(1), levels, out.mean(1)]
        return self.head(torch.tanh(self.wide(torch.cat(parts, 1))))
"""
LOADER = """
import numpy as np

def small():
    source = np.random.default_rng(0)
    return [
        (source.random((8, 1, 8, 8), np.float32), source.integers(0, 10, 8)) for _ in range({n})
    ]
"""
PROBE = [
    *("probe", "model.pt", "--arch", "net.py:Net", "--data", "data.py:small", "--samples", "all"),
    *("--conv", "patches", "--per-example", "all", "--normalize", "none", "-o", "out.h5"),
    *("--save-every", "0"),
]


@dataclass(frozen=True)
class Bench:
    """A folder with a checkpoint and its data, and the file of a run that nothing disturbed."""

    runner: Runner
    inputs: Path
    whole: Path

    def folder(self, place: Path) -> Path:
        """A new folder with the same inputs."""
        shutil.copytree(self.inputs, place)
        return place

    def probe(self, folder: Path, *more: str, **how: Any) -> Outcome:
        """Run the probe, to its end or until the signals of ``how`` come."""
        return self.runner.run([*PROBE, *more], folder, timeout=PATIENCE, **how)

    def ended(
        self, folder: Path, batch: int, *by: signal.Signals, after: float = 0, **how: Any
    ) -> Outcome:
        """Run the probe, which sends itself these signals in a batch, counted from 1, or
        ``after`` so many seconds from there.
        """
        numbers = " ".join(str(int(number)) for number in by)
        env = {"END_AT": str(batch), "END_BY": numbers, "END_AFTER": str(after)}
        return self.probe(folder, env=env, **how)

    def ends_the_same(self, folder: Path) -> None:
        """Resume what was ended; assert that it is done, with the same file and nothing else."""
        if (folder / "out.h5").exists():  # it was ended after that
            (folder / "out.h5.state").unlink(missing_ok=True)
        else:
            outcome = self.probe(folder, "--resume")
            assert outcome.code == 0, outcome
        assert_same_file(folder / "out.h5", self.whole)
        assert {file.name for file in folder.iterdir()} == {
            *(file.name for file in self.inputs.iterdir()),
            "out.h5",
        }


def bench(runner: Runner, place: Path) -> Bench:
    """Make the inputs in ``place``, and the undisturbed run."""
    inputs, whole = place / "inputs", place / "whole"
    inputs.mkdir(parents=True)
    (inputs / "net.py").write_text(NETWORK)
    (inputs / "data.py").write_text(LOADER.format(n=BATCHES))
    scope: dict[str, Any] = {}
    exec(NETWORK, scope)  # ours
    torch.manual_seed(0)
    torch.save(scope["Net"]().state_dict(), inputs / "model.pt")
    shutil.copytree(inputs, whole)
    outcome = runner.run(PROBE, whole, timeout=PATIENCE)
    assert outcome.code == 0, outcome
    return Bench(runner, inputs, whole / "out.h5")


def assert_same_file(file: Path, other: Path) -> None:
    """Every data set and every attribute but those of a run, to the last bit."""
    with h5py.File(file) as mine, h5py.File(other) as theirs:
        names, others = [], []
        mine.visit(names.append)
        theirs.visit(others.append)
        assert names == others
        for name in ["/", *names]:
            _assert_same_item(mine[name], theirs[name])


def _assert_same_item(item: Any, other: Any) -> None:
    skipped = OF_A_RUN if item.name == "/" else set()
    assert set(item.attrs) == set(other.attrs), item.name
    for key in set(item.attrs) - skipped:
        assert np.array_equal(item.attrs[key], other.attrs[key]), (item.name, key)
    if isinstance(item, h5py.Dataset):
        assert item.dtype == other.dtype, item.name
        assert np.array_equal(item[()], other[()], equal_nan=True), item.name

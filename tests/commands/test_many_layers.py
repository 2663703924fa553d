"""Each layer costs the same however many there are: no step looks at all layers for each.

Counted are calls of functions, of which there are as many in every run: networks whose depths are
in equal distances take equally many more, but for those that are made once for each pair of layers.
"""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import condcli
from condcli.cli import run
from condcli.statsfile import write

DEPTHS = (40, 80, 120)
FEW = 0.4  # calls a pair; a look from each layer at all is 1, at those before it 0.5


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.act = nn.Linear(4, 4), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.01 * self.act(self.fc(x))


def calls(function: Callable[[], object]) -> int:
    """How many functions are called while this one runs, with those written in C."""
    profile = cProfile.Profile()
    profile.runcall(function)
    return sum(entry.callcount for entry in profile.getstats())


def probed(depth: int) -> condcli.ProbeStats:
    torch.manual_seed(0)
    data = [(torch.randn(16, 4), torch.arange(16) % 4)]
    return condcli.probe(nn.Sequential(*(Block() for _ in range(depth))), data)


def calls_a_pair(function: Callable[[int], object]) -> float:
    """How many calls come with each pair of layers, found from the three depths."""
    function(DEPTHS[0])  # imports what is needed
    first, second, third = (calls(partial(function, depth)) for depth in DEPTHS)
    return (third - 2 * second + first) / (2 * (DEPTHS[1] - DEPTHS[0]) ** 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DEPTH.h5 for each network."""
    found = tmp_path_factory.mktemp("deep")
    for depth in DEPTHS:
        write(probed(depth), found / f"{depth}.h5")
    return found


def test_a_probe_costs_the_same_for_each_layer() -> None:
    assert calls_a_pair(probed) < FEW


@pytest.mark.parametrize("command", ["spectrum", "domination", "neurons", "verify", "diagnose"])
def test_a_command_costs_the_same_for_each_layer(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calls_a_pair(lambda depth: run([command, str(folder / f"{depth}.h5")])) < FEW


def test_a_look_at_all_layers_for_each_is_found() -> None:
    assert calls_a_pair(lambda depth: [id(a) for a in range(depth) for _ in range(a)]) > FEW

"""What will not fit is refused from the modules' shapes, before anything runs."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli.capture import Options, rehearse
from condcli.capture.planning import moment_numbers
from condcli.errors import CannotFinishError


def options(**changes: Any) -> Options:
    usual = {
        "conv": "channels",
        "norm": "running",
        "per_example": "auto",
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "seed": 0,
        "layers": (),
        "exclude": (),
    }
    return Options(**usual | changes)


class NeverRuns(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("the network was run")


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 GiB are free."""
    monkeypatch.setattr("condcli.capture.memory.available_memory", lambda device: 2**32)


DATA = (torch.zeros(8, 65_536), torch.arange(8) % 3)


@pytest.mark.usefixtures("little")
def test_a_layer_of_65536_inputs_is_refused_in_time_with_numbers_and_a_way_out() -> None:
    network = nn.Sequential(OrderedDict(wide=NeverRuns(65_536, 3), fc=nn.Linear(3, 3)))
    start = time.perf_counter()
    message = r"about \d+ GiB are needed on cpu \(\d+ GiB for the moments\), and 4 GiB are free.*"
    with pytest.raises(CannotFinishError, match=message + "--exclude wide, or name .* --layers"):
        condcli.probe(network, DATA)
    assert time.perf_counter() - start < 2


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("way_out", [{"exclude": ["wide"]}, {"layers": ["fc"]}])
def test_the_way_out_is_one(way_out: dict[str, list[str]]) -> None:
    network = nn.Sequential(OrderedDict(wide=nn.Linear(65_536, 3), fc=nn.Linear(3, 3)))
    assert list(condcli.probe(network, DATA, **way_out).layers) == ["fc"]


@pytest.mark.parametrize("conv", ["channels", "patches"])
def test_the_plan_is_what_the_rehearsal_finds(conv: str) -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2),
        nn.ConvTranspose2d(6, 4, (2, 3)),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Flatten(),
        nn.Linear(4 * 3 * 4, 5),
    )
    setting = options(conv=conv)
    x = torch.randn(2, 4, 6, 6)
    numbers = moment_numbers(network, setting)
    assert sum(numbers.values()) == rehearse(network, x, setting, source="x").moment_numbers
    assert list(numbers) == ["0", "1", "2", "4"]


def test_so_it_is_for_embeddings() -> None:
    network = nn.Sequential(nn.Embedding(50, 6), nn.Linear(6, 7))
    numbers = moment_numbers(network, options())
    assert numbers == {"0": 50 + 36, "1": 36 + 49}
    tokens = torch.zeros(2, 3, dtype=torch.int64)
    assert rehearse(network, tokens, options(), source="x").moment_numbers == sum(numbers.values())

"""What will not fit is refused from the modules' shapes, before anything runs."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli.capture import Options, rehearse
from condcli.capture.planning import moment_numbers
from condcli.capture.wide import WideSide, sketched, wide_need
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


DATA = (torch.arange(8.0 * 65_536).sin().view(8, -1), torch.arange(8) % 3)


@pytest.mark.usefixtures("little")
def test_a_layer_of_65536_inputs_is_refused_in_time_with_numbers_and_a_way_out() -> None:
    network = nn.Sequential(OrderedDict(wide=NeverRuns(65_536, 3), fc=nn.Linear(3, 3)))
    start = time.perf_counter()
    message = r"about \d+ GiB are needed on cpu \(\d+ GiB for the moments\), and 4 GiB are free.*"
    way_out = "--max-dim, or leave .* --exclude wide, or name .* --layers"
    with pytest.raises(CannotFinishError, match=message + way_out):
        condcli.probe(network, DATA, max_dim=65_536)
    assert time.perf_counter() - start < 2


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("way_out", [{"exclude": ["wide"]}, {"layers": ["fc"]}])
def test_the_way_out_is_one(way_out: dict[str, list[str]]) -> None:
    network = nn.Sequential(OrderedDict(wide=nn.Linear(65_536, 3), fc=nn.Linear(3, 3)))
    assert list(condcli.probe(network, DATA, max_dim=65_536, **way_out).layers) == ["fc"]


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("max_dim", [16_384, 7])
def test_a_layer_of_65536_inputs_has_a_factor_soon(max_dim: int) -> None:
    """Eight rows are kept, or sketched with seven columns."""
    network = nn.Sequential(OrderedDict(wide=nn.Linear(65_536, 3), fc=nn.Linear(3, 3)))
    begun = []
    start = time.perf_counter()
    stats = condcli.probe(
        network, DATA, max_dim=max_dim, progress=lambda *_: begun.append(time.perf_counter())
    )
    assert begun[0] - start < 2
    assert list(stats.layers) == ["wide", "fc"]
    assert stats.layers["wide"].input_factor is not None
    assert (stats.layers["wide"].input_error == 0) == (max_dim > 7)


SIDES = {
    "head": {"grad": WideSide(features=50_000, rows=20.0)},
    "fc": {"input": WideSide(features=30_000, rows=1.0)},
}


@pytest.mark.parametrize(
    ("examples", "head_bytes", "way_out"),
    [
        (100, 2 * 4 * 2000 * 50_000, "--max-dim 1999, to have them sketched, or .*--exclude head"),
        (1000, 40 * (256 + 128) * 50_000, "leave wide layers out, such as --exclude head"),
    ],
)
def test_rows_are_counted_as_they_will_be_kept_or_sketched(
    examples: int, head_bytes: float, way_out: str
) -> None:
    """2,000 rows of the head are kept; 20,000 are more than the 16,384 of max_dim."""
    size, said = wide_need(SIDES, examples, options())
    assert size == head_bytes + 2 * 4 * examples * 30_000
    assert re.fullmatch(f".*{way_out}", said)
    assert sketched(SIDES, examples, options()) == ({"head"} if examples == 1000 else set())


def test_what_wide_layers_need_is_refused_where_it_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("condcli.capture.memory.available_memory", lambda device: 40_000_000)
    network = nn.Sequential(OrderedDict(wide=nn.Linear(65_536, 3)))
    data = (torch.zeros(100, 65_536), torch.arange(100) % 3)
    message = "MiB for wide layers.*--max-dim 99, to have them sketched"
    with pytest.raises(CannotFinishError, match=message):
        condcli.probe(network, data, batch_size=1, per_example="none")


def test_the_rehearsal_counts_the_rows_of_all_calls() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2)
            self.fc = nn.Linear(4, 9)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.conv(x)
            return (self.fc(maps.mean((2, 3))) + self.fc(maps.amax((2, 3)))).sum(1, keepdim=True)

    found = rehearse(Twice(), torch.randn(5, 4, 8, 8), options(max_dim=1), source="x").wide
    assert found == {
        "conv": {"input": WideSide(4, 64.0), "grad": WideSide(4, 16.0)},
        "fc": {"input": WideSide(4, 2.0), "grad": WideSide(9, 2.0)},
    }
    patches = rehearse(
        Twice(), torch.randn(5, 4, 8, 8), options(max_dim=1, conv="patches"), source="x"
    ).wide
    assert patches["conv"] == {"input": WideSide(36, 16.0), "grad": WideSide(4, 16.0)}


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

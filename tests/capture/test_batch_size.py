"""The batch size that memory allows: by estimate at first, then by what fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli.capture import Options, rehearse
from condcli.capture.batch_size import USUAL, fitting, halving
from condcli.capture.memory import needs
from condcli.capture.rehearsal import Rehearsal
from condcli.cli import run
from condcli.errors import UsageError, is_out_of_memory

from .parts import assert_records_same, assert_same

TORCH_SAYS = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
OUT_OF_MEMORY = [
    RuntimeError(TORCH_SAYS),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    OSError(12, "Cannot allocate memory"),
]


class Greedy(nn.Module):
    """Finds no memory for a batch of more than ``most``."""

    def __init__(self, most: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.Linear(5, 3)
        )
        self.most = most
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        hidden = self.net[:3](x)
        if len(x) > self.most:
            raise RuntimeError(TORCH_SAYS)
        return self.net[3:](hidden)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    return torch.randn(29, 4, generator=source), torch.arange(29) % 3


@pytest.fixture
def options() -> Options:
    return Options(
        conv="channels",
        norm="running",
        per_example="auto",
        dtype=torch.float32,
        device=torch.device("cpu"),
        seed=0,
        layers=(),
        exclude=(),
    )


@pytest.fixture
def rehearsal(options: Options, data: tuple[Tensor, Tensor]) -> Rehearsal:
    return rehearse(Greedy(10**9), data[0], options, source="data")


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float | None], None]:
    """Set the bytes that are free."""

    def be(room: float | None) -> None:
        monkeypatch.setattr("condcli.capture.memory.available_memory", lambda device: room)

    return be


def needed(rehearsal: Rehearsal, options: Options, size: int) -> float:
    by_purpose = needs(rehearsal, options, batch_size=size, examples=1000)
    return sum(required for required, _ in by_purpose.values())


def test_as_many_examples_as_are_of_use_are_taken_where_memory_is_plenty_or_unknown(
    rehearsal: Rehearsal, options: Options, free: Callable[[float | None], None]
) -> None:
    for room in (2.0**40, None):
        free(room)
        assert fitting(rehearsal, options, examples=1000) == USUAL
        assert fitting(rehearsal, options, examples=29) == 29


@pytest.mark.parametrize(("fits", "size"), [(127, 64), (64, 64), (63, 32), (3, 2), (1, 1), (0, 1)])
def test_fewer_are_taken_where_memory_is_short(
    rehearsal: Rehearsal,
    options: Options,
    free: Callable[[float | None], None],
    fits: int,
    size: int,
) -> None:
    room = needed(rehearsal, options, fits)
    free(room)
    assert fitting(rehearsal, options, examples=1000) == size
    free(3 * room)
    assert fitting(rehearsal, options, examples=1000, processes=3) == size


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_half_is_taken_where_memory_ran_out(error: Exception) -> None:
    tried = []

    def measured(size: int) -> str:
        tried.append(size)
        if size > 3:
            raise error
        return "measured"

    assert is_out_of_memory(error)
    assert halving(measured, 29) == "measured"
    assert tried == [29, 15, 8, 4, 2]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_a_single_example_that_is_too_large_is_an_error(error: Exception) -> None:
    tried = []

    def measured(size: int) -> None:
        tried.append(size)
        raise error

    with pytest.raises(type(error)) as caught:
        halving(measured, 5)
    assert caught.value is error
    assert tried == [5, 3, 2, 1]


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes"), ValueError("out of memory"), OSError(28, "full")],
)
def test_other_errors_are_not_tried_again(error: Exception) -> None:
    tried = []

    def measured(size: int) -> None:
        tried.append(size)
        raise error

    with pytest.raises(type(error)) as caught:
        halving(measured, 8)
    assert caught.value is error
    assert tried == [8]


def test_what_the_failed_try_held_is_free_before_the_next() -> None:
    """A traceback holds on to every tensor of the frames that it passed."""
    alive: set[int] = set()

    class Tracked:
        def __init__(self, size: int) -> None:
            self.size = size
            alive.add(size)

        def __del__(self) -> None:
            alive.discard(self.size)

    def measured(size: int) -> set[int]:
        held = set(alive)
        tensors = Tracked(size)
        if size > 1:
            raise MemoryError(tensors.size)
        return held

    assert halving(measured, 4) == set()


def test_a_network_that_finds_no_memory_for_its_batches_is_measured_in_smaller_ones(
    data: tuple[Tensor, Tensor],
) -> None:
    """Nothing of what was summed up to the failure counts."""
    model = Greedy(3)
    options = {"norm": "running", "dtype": "float64", "per_example": "all"}
    found = condcli.probe(model, data, batch_size="auto", **options)
    assert found.provenance.batch_size == 2
    assert [model.sizes.count(size) for size in (29, 15, 14, 8, 4)] == [1, 1, 0, 1, 1]
    expected = condcli.probe(Greedy(29), data, batch_size=10, **options)
    provenance = replace(found.provenance, batch_size=expected.provenance.batch_size)
    assert_same(replace(found, provenance=provenance), expected)


@pytest.mark.parametrize("size", [1, 7, 29, 1000])
def test_running_statistics_make_every_batch_size_the_same(
    data: tuple[Tensor, Tensor], size: int
) -> None:
    options = {"norm": "running", "dtype": "float64", "per_example": "all"}
    found = condcli.probe(Greedy(29), data, batch_size="auto", **options)
    assert found.provenance.batch_size == 29
    expected = condcli.probe(Greedy(29), data, batch_size=size, **options)
    for name, layer in found.layers.items():
        assert_records_same(layer, expected.layers[name], ())
    for name, count in found.activations.items():
        assert_records_same(count, expected.activations[name], ())


def test_memory_that_runs_out_at_one_example_passes_as_it_is(data: tuple[Tensor, Tensor]) -> None:
    model = Greedy(29)
    model.net[3].register_full_backward_hook(run_out)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        condcli.probe(model, data, batch_size="auto", norm="running")


def run_out(*_: object) -> None:
    raise RuntimeError(TORCH_SAYS)


def test_auto_for_a_shard_is_refused(data: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UsageError, match="another size for each shard; pass all the same number"):
        condcli.probe(Greedy(29), data, batch_size="auto", shard="1/2")


@pytest.mark.parametrize("size", [0, -1, "x", "all"])
def test_a_batch_size_that_is_none_is_refused(data: tuple[Tensor, Tensor], size: int | str) -> None:
    with pytest.raises(UsageError, match=f"batch size {size!r} does not exist; give 1 or more"):
        condcli.probe(Greedy(29), data, batch_size=size)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A probe of a network that finds memory for three examples only."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(4, 3)\n"
        "    def forward(self, x):\n"
        f"        if len(x) > 3: raise RuntimeError({TORCH_SAYS!r})\n"
        "        return self.fc(x)\n"
    )
    torch.save(nn.Linear(4, 3).state_dict(), "bare.pt")
    torch.save({f"fc.{name}": t for name, t in torch.load("bare.pt").items()}, "model.pt")
    return ["probe", "model.pt", "--arch", "net.py:Net", "--data", "random:4", "--samples", "12"]


def test_a_fixed_size_that_does_not_fit_says_what_to_do(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--batch-size", "4"]) == 5
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--batch-size" in error
    assert not Path("stats.h5").exists()
    assert run([*command, "--batch-size", "3"]) == 0


@pytest.mark.parametrize(("norm", "noted"), [("batch", True), ("running", False)])
def test_auto_says_which_batch_statistics_it_took(
    command: list[str], capsys: pytest.CaptureFixture[str], norm: str, noted: bool
) -> None:
    assert run([*command, "--batch-size", "auto", "--norm", norm]) == 0
    error = capsys.readouterr().err
    note = "note: batch statistics are those of 3 examples, as --batch-size auto found room for"
    assert (note in error) is noted
    assert condcli.read("stats.h5").provenance.batch_size == 3


@pytest.mark.parametrize("size", ["0", "-1", "x", "1.5"])
def test_a_batch_size_that_is_none_is_wrong_usage(
    command: list[str], capsys: pytest.CaptureFixture[str], size: str
) -> None:
    assert run([*command, f"--batch-size={size}"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"condcli: error: --batch-size {size} is no number of examples; pass 1, 2, … or auto\n"
    )


def test_auto_with_a_shard_is_wrong_usage(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--batch-size", "auto", "--shard", "1/2"]) == 2
    assert "auto may find another size for each shard" in capsys.readouterr().err

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
from condcli.errors import BatchTooLargeError, InputError, UsageError

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

    def __init__(self, most: int, error: Exception = OUT_OF_MEMORY[0]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.error = error
        self.net = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.Linear(5, 3)
        )
        self.most = most
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        hidden = self.net[:3](x)
        if len(x) > self.most:
            raise self.error
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
    assert fitting(rehearsal, options, examples=1000, least=3) == max(3, size)
    free(3 * room)
    assert fitting(rehearsal, options, examples=1000, processes=3) == size


@pytest.mark.parametrize(
    ("least", "most", "tried"), [(1, 3, [29, 15, 8, 4, 2]), (3, 3, [29, 15, 8, 4, 3])]
)
def test_half_is_taken_where_memory_ran_out(least: int, most: int, tried: list[int]) -> None:
    seen = []

    def measured(size: int) -> str:
        seen.append(size)
        if size > most:
            raise BatchTooLargeError(size)
        return "measured"

    assert halving(measured, 29, least=least) == "measured"
    assert seen == tried


@pytest.mark.parametrize(("least", "tried"), [(1, [5, 3, 2, 1]), (2, [5, 3, 2])])
def test_the_least_batch_that_is_too_large_is_an_error(least: int, tried: list[int]) -> None:
    seen = []

    def measured(size: int) -> None:
        seen.append(size)
        raise BatchTooLargeError(size)

    with pytest.raises(BatchTooLargeError, match=f"a batch of {least} examples"):
        halving(measured, 5, least=least)
    assert seen == tried


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
            raise BatchTooLargeError(tensors.size)
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


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_memory_runs_out_in_the_words_of_torch_python_or_the_system(
    data: tuple[Tensor, Tensor], error: Exception
) -> None:
    found = condcli.probe(Greedy(3, error), data, batch_size="auto")
    assert found.provenance.batch_size == 3
    with pytest.raises(BatchTooLargeError, match="in a batch of 10 examples") as caught:
        condcli.probe(Greedy(3, error), data, batch_size=10)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes"), ValueError("out of memory"), OSError(28, "full")],
)
def test_other_errors_are_not_tried_again(data: tuple[Tensor, Tensor], error: Exception) -> None:
    model = Greedy(3, error)
    with pytest.raises(InputError):
        condcli.probe(model, data, batch_size="auto")
    assert [size for size in model.sizes if size > 3] == [29]


@pytest.mark.parametrize(
    ("norm", "examples", "least"), [("running", 29, 1), ("batch", 28, 2), ("batch", 29, 3)]
)
def test_batch_statistics_are_never_of_one_example(
    data: tuple[Tensor, Tensor], norm: str, examples: int, least: int
) -> None:
    """Three at least where the number is odd: batches of two would leave one over."""
    data = (data[0][:examples], data[1][:examples])
    model = Greedy(29)
    model.net[3].register_full_backward_hook(run_out)
    with pytest.raises(BatchTooLargeError, match=f"in a batch of {least} examples"):
        condcli.probe(model, data, batch_size="auto", norm=norm)


def test_a_network_without_batch_normalisation_may_have_one_example_left_over(
    data: tuple[Tensor, Tensor],
) -> None:
    with pytest.raises(BatchTooLargeError):
        condcli.probe(Greedy(2), data, batch_size="auto")
    model = Greedy(2)
    model.net[1] = nn.Identity()
    assert condcli.probe(model, data, batch_size="auto").provenance.batch_size == 2


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

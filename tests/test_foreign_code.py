"""Code that is not ours can neither end the run its own way, nor write among the results."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from condcli.capture.rehearsal import network_errors
from condcli.cli import run
from condcli.errors import CannotFinishError, InputError, Terminated, is_out_of_memory
from condcli.models import ZOO, load, read_checkpoint
from condcli.signals import ENDING, leave_by_exception
from condcli.user_code import errors_reported

NETWORK = """
import os, signal, sys
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        {forward}
        return self.fc(x.flatten(1))

def build():
    {build}
    return Net()
"""


class Run(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def probed(tmp_path: Path, monkeypatch: Any, capsys: Any) -> Callable[..., Run]:
    """`condcli probe` of a user's network with one odd line in its code."""
    monkeypatch.chdir(tmp_path)
    torch.save(ZOO["mlp"](inputs=64, depth=1).state_dict(), "model.pt")
    state = {name.replace("fc1", "fc"): value for name, value in torch.load("model.pt").items()}
    torch.save(state, "model.pt")

    def call(*, forward: str = "pass", build: str = "pass", options: str = "") -> Run:
        Path("net.py").write_text(NETWORK.format(forward=forward, build=build))
        words = f"probe model.pt --arch net.py:build --data digits --samples 64 -o s.h5 {options}"
        return Run(run(words.split()), *capsys.readouterr())

    return call


def test_what_a_network_prints_is_not_on_stdout(probed: Callable[..., Run]) -> None:
    done = probed(forward="print('in forward')", build="print('in build')")
    assert done.code == 0
    assert "in forward" in done.err
    assert "in build" in done.err
    assert "in forward" not in done.out
    assert "in build" not in done.out


@pytest.mark.parametrize("place", ["forward", "build"])
@pytest.mark.parametrize("status", [0, 1])
def test_a_networks_exit_is_an_error_of_the_input(
    place: str, status: int, probed: Callable[..., Run]
) -> None:
    done = probed(**{place: f"sys.exit({status})"})
    assert done.code == 3
    assert done.out == ""
    assert f"SystemExit: {status}" in done.err
    assert not Path("s.h5").exists()


@pytest.mark.parametrize("place", ["forward", "build"])
def test_a_network_too_large_for_memory_exits_5(place: str, probed: Callable[..., Run]) -> None:
    done = probed(**{place: "torch.empty(2**48, dtype=torch.uint8)"})  # no address space has it
    assert done.code == 5
    assert done.err.splitlines()[-1].startswith("condcli: error: memory is too short; pass a sm")


@pytest.mark.parametrize("place", ["forward", "build"])
def test_sigterm_in_foreign_code_exits_143(
    place: str, probed: Callable[..., Run], monkeypatch: Any
) -> None:
    before = {number: signal.getsignal(number) for number in ENDING}
    signal.signal(signal.SIGTERM, leave_by_exception)
    try:
        assert probed(**{place: "os.kill(os.getpid(), signal.SIGTERM)"}).code == 143
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(), MemoryError()])
def test_what_is_not_the_codes_own_fault_passes(error: BaseException) -> None:
    with pytest.raises(type(error)), errors_reported("net.py:f"):
        raise error


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error: Exception, short: bool) -> None:
    assert is_out_of_memory(error) is short


class Runs:
    """Pickles to a call."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def quotient(a: float, b: float) -> float:
    return a / b


def leave(status: int) -> None:
    raise SystemExit(status)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (Runs(quotient, 1, 0), InputError, "fails (ZeroDivisionError: division by zero)"),
        (Runs(leave, 0), InputError, "fails (SystemExit: 0)"),
        (Runs(torch.empty, 2**48), CannotFinishError, "does not fit into memory"),
    ],
)
def test_a_trusted_pickle_that_fails_is_reported_as_what_it_raised(
    content: Runs, kind: type[Exception], said: str, zipped: bool, tmp_path: Path
) -> None:
    file = tmp_path / "model.pt"
    torch.save({"state_dict": {}, "x": content}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(kind) as caught:
        read_checkpoint(file, trust=True)
    assert f"{file}" in str(caught.value)
    assert said in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_what_a_trusted_pickle_prints_is_not_on_stdout(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "model.pt"
    torch.save({"a": torch.ones(2), "x": Runs(print, "unpickled")}, file)
    load_error = pytest.raises(InputError)  # of an architecture: the pickle itself is read
    with load_error:
        load(file, trust=True)
    assert capsys.readouterr() == ("", "unpickled\n")


def test_a_batch_too_small_for_batch_statistics_gets_its_remedy() -> None:
    x = torch.ones(1, 4)
    failing = pytest.raises(InputError, match=r"; pass more --samples or --norm running$")
    with failing, network_errors(x, "digits"):
        nn.BatchNorm1d(4)(x)


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (nn.Linear(4, 2), torch.ones(2, 4, dtype=torch.int64)),
        (nn.Conv2d(1, 1, 3), torch.ones(2, 1, 8, 8, dtype=torch.int32)),
        (nn.Linear(4, 2, bias=False), torch.ones(2, 4, dtype=torch.bool)),
    ],
)
def test_integers_for_a_network_of_floats_get_their_remedy(
    network: nn.Module, x: torch.Tensor
) -> None:
    failing = pytest.raises(InputError, match=r"; store x as floats or uint8$")
    with failing, network_errors(x, "x.npz"):
        network(x)


def test_a_wrong_shape_keeps_its_own_remedy() -> None:
    x = torch.ones(2, 5)
    failing = pytest.raises(InputError, match="; choose data of the shape it was trained on")
    with failing, network_errors(x, "digits"):
        nn.Linear(4, 2)(x)

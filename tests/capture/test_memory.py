"""What a pass has used is free as soon as it can be, and stays at hand within bounds."""

from __future__ import annotations

import sys
import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli import machine
from condcli.capture import memory
from condcli.capture.layer import LayerCapture
from condcli.capture.memory import freed_memory_kept, give_back_freed, has_room, require_room
from condcli.capture.mode import Capture
from condcli.capture.options import Options
from condcli.errors import CannotFinishError
from condcli.machine import Budget

linux = pytest.mark.skipif(sys.platform != "linux", reason="the C library is not glibc")
CPU = torch.device("cpu")
OPTIONS = Options(
    conv="channels",
    norm="running",
    per_example="auto",
    dtype=torch.float32,
    device=CPU,
    seed=0,
    layers=(),
    exclude=(),
)


class Watched(nn.Sequential):
    """Remembers, weakly, what each linear layer was given."""

    def __init__(self) -> None:
        super().__init__(*(nn.Linear(4, 4) for _ in range(3)))
        self.inputs: list[weakref.ref[Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Each layer is given what nothing but the graph holds."""
        for layer in self:
            x = x.exp()
            self.inputs.append(weakref.ref(x))
            x = layer(x)
        return x


def passed(model: Watched) -> tuple[Capture, Tensor]:
    """One captured forward pass; the loss has not gone backward."""
    capture = Capture(model, OPTIONS)
    with capture.forward_pass(5):
        loss = model(torch.randn(5, 4)).sum()
    return capture, loss


def alive(model: Watched) -> list[bool]:
    return [found() is not None for found in model.inputs]


def test_an_input_goes_as_soon_as_its_gradient_has_come() -> None:
    model = Watched()
    _, loss = passed(model)
    assert alive(model) == [True] * 3
    seen: list[list[bool]] = []
    model[0].weight.register_hook(lambda grad: seen.append(alive(model)))
    loss.backward()
    assert loss.grad_fn is not None  # the graph is still there
    assert alive(model) == [False] * 3
    assert seen[0][2] is False  # while the pass went on


def test_an_input_stays_for_as_many_backward_passes_as_there_are() -> None:
    model = Watched()
    capture, loss = passed(model)
    shapes: list[torch.Size] = []

    def take(layer: LayerCapture, call: object, grad: Tensor, *others: object) -> None:
        shapes.append(grad.shape)

    with capture.taking(take):
        loss.backward(retain_graph=True)
        loss.backward(retain_graph=True)
    assert shapes == [(5, 4)] * 6
    assert alive(model) == [True] * 3
    loss.backward()
    assert alive(model) == [False] * 3
    assert [layer.calls_with_grad for layer in capture.layers.values()] == [1] * 3


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@linux
def test_freed_memory_stays_until_there_is_more_than_is_kept() -> None:
    size, count = 2**20, 256
    with freed_memory_kept():
        pieces = [torch.zeros(size, dtype=torch.uint8) for _ in range(count)]
        last = torch.zeros(size, dtype=torch.uint8)
        before = resident()
        del pieces
        give_back_freed(keep=2**40)
        assert before - resident() < size * count / 4
        give_back_freed(keep=0)
        assert before - resident() > size * count / 2
        assert not last.any()


def test_where_room_is_short_what_was_kept_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [1000]
    asked: list[int] = []

    def give_back(keep: int) -> None:
        asked.append(keep)
        free[0] = 3000

    monkeypatch.setattr(machine, "free_memory", lambda: Budget(free[0], "the machine"))
    monkeypatch.setattr(memory, "give_back_freed", give_back)
    assert has_room({"a": (900.0, "")}, CPU)
    assert asked == []
    assert has_room({"a": (2000.0, "")}, CPU)
    assert asked == [0]
    with pytest.raises(CannotFinishError, match=r"about 4\.88 KiB are needed"):
        require_room({"a": (5000.0, "have less")}, CPU)


@linux
def test_probes_one_after_the_other_take_no_more_and_more() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3))
    x, y = torch.randn(64, 3, 32, 32), torch.randn(64, 16, 30, 30)
    sizes = []
    for _ in range(6):
        condcli.probe(model, (x, y), loss="mse", batch_size=32)
        sizes.append(resident())
    assert sizes[-1] - sizes[1] < 2**26

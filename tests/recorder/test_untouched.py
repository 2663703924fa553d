"""A training with a Recorder is the training without, bit for bit, and nothing is left behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.overrides import _get_current_function_mode_stack

import condcli
from condcli.recorder import OFF
from tests.capture.test_side_effects import assert_same, state

from .loops import batches, network

STEPS = 6


class Everything(nn.Module):
    """Dropout, batch statistics, attention, an LSTM, a renormed embedding, in-place functions."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 6, max_norm=1.0)
        self.lstm = nn.LSTM(6, 6, batch_first=True, num_layers=2, dropout=0.3)
        self.attention = nn.MultiheadAttention(6, 2, dropout=0.2, batch_first=True)
        self.bn = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x, _ = self.lstm(F.dropout(self.table(tokens), 0.1, self.training))
        x, _ = self.attention(x, x, x)
        return self.head(torch.relu_(self.bn(x.mean(1))))


def everything() -> nn.Module:
    torch.manual_seed(0)
    return Everything()


def tokens(count: int) -> list[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(1)
    return [
        (torch.randint(7, (8, 5), generator=source), torch.randint(3, (8,), generator=source))
        for _ in range(count)
    ]


NETWORKS = {"image": (network, batches), "tokens": (everything, tokens)}


def trained(
    build: Callable[[], nn.Module], data: list[tuple[Tensor, Tensor]], folder: Path | None
) -> tuple[dict[str, Tensor], list[float], Tensor]:
    """The state in the end, all losses, and where torch's random numbers have got to."""
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    recorder = condcli.Recorder(model, folder, every=2) if folder else None
    losses = []
    torch.manual_seed(5)
    for x, y in data:
        with recorder.step() if recorder else OFF:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    if recorder:
        recorder.close()
    return model.state_dict(), losses, torch.get_rng_state()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_is_the_same_bit_for_bit(name: str, tmp_path: Path) -> None:
    build, data = NETWORKS[name]
    weights, losses, random = trained(build, data(STEPS), None)
    recorded, same_losses, same_random = trained(build, data(STEPS), tmp_path)
    assert same_losses == losses
    assert torch.equal(same_random, random)
    assert all(torch.equal(recorded[name], weights[name]) for name in weights)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step_{number:08d}.h5" for number in (0, 2, 4)
    ]


def assert_nothing_left(model: nn.Module) -> None:
    assert not _get_current_function_mode_stack()
    assert not modules._global_forward_hooks
    assert not modules._global_forward_pre_hooks
    assert all(parameter._backward_hooks is None for parameter in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


def backward(
    model: nn.Module, batch: tuple[Tensor, Tensor], fail: Callable[..., None], where: str
) -> None:
    output = model(batch[0])
    if where == "loss":
        fail()
    output.register_hook(fail)
    F.cross_entropy(output, batch[1]).backward()


@pytest.mark.parametrize("where", ["forward", "loss", "backward"])
def test_an_exception_in_the_loop_leaves_nothing_behind(where: str, tmp_path: Path) -> None:
    model, data = network(), batches(2)
    before = state(model, data[0])

    def fail(*_: object) -> None:
        raise ValueError("the loop fails")

    recorder = condcli.Recorder(model, tmp_path, every=1)
    hook = model[4].register_forward_hook(fail if where == "forward" else lambda *_: None)
    with pytest.raises(ValueError, match="the loop fails"), recorder.step():
        backward(model, data[0], fail, where)
    hook.remove()
    assert_nothing_left(model)
    model.zero_grad()
    after = state(model, data[0])
    for buffer in ("buffer 0", "buffer 1", "buffer 2"):  # the forward pass's own
        after[buffer] = before[buffer]
    assert_same(after, before)
    with recorder.step():
        F.cross_entropy(model(data[1][0]), data[1][1]).backward()
    recorder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001.h5"]


def test_steps_between_records_see_no_mode_nor_hooks(tmp_path: Path) -> None:
    model, data = network(), batches(3)
    with condcli.Recorder(model, tmp_path, every=2) as recorder:
        for number, (x, y) in enumerate(data):
            with recorder.step() as step:
                assert (step is OFF) == (number == 1)
                if step is OFF:
                    assert_nothing_left(model)
                    assert step.loss(x, terms=1) is x
                F.cross_entropy(model(x), y).backward()
            assert_nothing_left(model)


def test_hooks_of_the_users_own_stay_and_run(tmp_path: Path) -> None:
    model, (x, y) = network(), batches(1)[0]
    seen: list[str] = []
    weight = model[6].weight
    weight.register_hook(lambda grad: seen.append("before"))
    weight.register_post_accumulate_grad_hook(lambda parameter: seen.append("after"))
    with condcli.Recorder(model, tmp_path) as recorder, recorder.step():
        F.cross_entropy(model(x), y).backward()
    assert seen == ["before", "after"]
    assert len(weight._backward_hooks) == 1


def test_a_network_that_was_recorded_can_be_freed(tmp_path: Path) -> None:
    model, (x, y) = network(), batches(1)[0]
    kept = [weakref.ref(parameter) for parameter in model.parameters()]
    with condcli.Recorder(model, tmp_path) as recorder, recorder.step():
        F.cross_entropy(model(x), y).backward()
    del model, recorder
    gc.collect()
    assert not any(parameter() is not None for parameter in kept)

"""Filling a module child by child is the same as its own load_state_dict."""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from condcli.models.filling import take_in


class Renaming(nn.Module):
    """Was saved with another name for its weight, which its hook knows."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3))
        self.register_load_state_dict_pre_hook(self._renamed)
        self.register_load_state_dict_post_hook(lambda module, keys: self.seen.append("loaded"))
        self.seen: list[str] = []

    @staticmethod
    def _renamed(module: nn.Module, state: dict[str, Any], prefix: str, *rest: object) -> None:
        for name in [name for name in state if name.startswith(f"{prefix}inner.0.old_")]:
            state[name.replace("old_", "")] = state.pop(name)


class Doubling(nn.Linear):
    """Has a way of its own to take in its tensors."""

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        state[f"{prefix}weight"] = 2 * state[f"{prefix}weight"]
        super()._load_from_state_dict(state, prefix, *rest)


class Whole(nn.Module):
    """Takes in everything below it at once, its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.loads = 0

    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        self.loads += 1
        return super().load_state_dict(*arguments, **options)


class WithOwn(nn.Module):
    """Has tensors of its own beside its children, and a child that is None."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(3))
        self.register_buffer("seen", torch.rand(2))
        self.register_buffer("unsaved", torch.rand(2), persistent=False)
        self.body = nn.ModuleList([nn.Linear(2, 2), nn.BatchNorm1d(2)])
        self.none = None
        self.register_module("nothing", None)


def tied() -> nn.Module:
    one = nn.Linear(2, 2)
    return nn.ModuleDict({"a": one, "b": nn.Sequential(one, nn.PReLU())})


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "a linear map": lambda: nn.Linear(2, 3),
    "blocks": lambda: nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(5))),
    "own tensors": WithOwn,
    "tied modules": tied,
    "a transformer": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False
    ),
    "parametrized": lambda: nn.Sequential(weight_norm(nn.Linear(3, 2))),
    "another way": lambda: nn.Sequential(nn.Sequential(Doubling(2, 2))),
    "hooks": lambda: nn.Sequential(Renaming()),
}


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {**module.state_dict(), **dict(module.named_buffers())}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("assign", [False, True])
def test_it_is_what_load_state_dict_does(name: str, assign: bool) -> None:
    torch.manual_seed(0)
    module = NETWORKS[name]()
    other = deepcopy(module)
    tensors = {
        key: torch.rand_like(tensor) if tensor.is_floating_point() else tensor + 7
        for key, tensor in module.state_dict().items()
    }
    take_in(module, tensors, assign=assign)
    other.load_state_dict(tensors, assign=assign)
    found, expected = state_of(module), state_of(other)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_each_block_takes_the_same_time_however_many_there_are() -> None:
    """Counted are calls of functions: of three numbers in equal distances, both steps alike."""
    counts = []
    for blocks in (40, 80, 120):
        module = nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(blocks)))
        tensors = module.state_dict()
        profile = cProfile.Profile()
        profile.runcall(take_in, module, tensors, assign=False)
        counts.append(sum(entry.callcount for entry in profile.getstats()))
    first, second, third = counts
    assert third - second <= 1.001 * (second - first)


def test_hooks_have_their_say() -> None:
    module = nn.Sequential(Renaming(), nn.Sequential(Renaming()))
    tensors = {
        key.replace("0.weight", "0.old_weight"): torch.rand_like(tensor)
        for key, tensor in module.state_dict().items()
    }
    take_in(module, tensors, assign=False)
    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, tensors[key.replace("0.weight", "0.old_weight")])
    assert module[0].seen == module[1][0].seen == ["loaded"]


def test_a_module_that_loads_all_itself_does() -> None:
    module = nn.Sequential(Whole())
    take_in(module, {"0.inner.weight": torch.ones(2, 2)}, assign=False)
    assert module[0].loads == 1
    assert torch.equal(module[0].inner.weight, torch.ones(2, 2))


def test_a_network_without_memory_gets_the_tensors_themselves() -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.BatchNorm1d(2))
    tensors = {name: torch.rand(tensor.shape) for name, tensor in module.named_parameters()}
    tensors |= {f"1.running_{what}": torch.rand(2) for what in ("mean", "var")}
    take_in(module, tensors, assign=True)
    assert not any(tensor.is_meta for tensor in module.state_dict().values())
    for name, parameter in module.named_parameters():
        assert parameter.data_ptr() == tensors[name].data_ptr()

"""A probe leaves the model, the data and the process as it found them."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from condcli.api import probe

from . import attention
from .cases import CASES
from .test_activations import Net

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Everything(nn.Module):
    """BN, dropout, attention, a frozen part, and an in-place operation on the input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.bn = nn.BatchNorm1d(6, momentum=None)
        self.dropout = nn.Dropout(0.5)
        self.attn = attention.SelfAttention(batch_first=True)
        self.failing = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.frozen(torch.relu_(x))
        x = self.bn(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        if self.failing:
            raise ValueError("this model fails")
        return self.attn(self.dropout(x))


@pytest.fixture
def model() -> Everything:
    """A model in a mixed state: flags, gradients and hooks that a probe has to keep."""
    torch.manual_seed(3)
    model = Everything()
    model.frozen.eval()
    model.attn.head.eval()
    model.bn.running_mean.normal_()
    model.attn.head.weight.grad = torch.randn_like(model.attn.head.weight)
    model.frozen.register_forward_hook(lambda *_: None)
    model.attn.register_forward_pre_hook(lambda *_: None)
    model.bn.register_full_backward_hook(lambda *_: None)
    return model


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.randn(6, 5, 6), torch.arange(6) % 3


@pytest.mark.parametrize("norm", ["batch", "running"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_probe_leaves_no_trace(
    model: Everything, data: tuple[Tensor, Tensor], norm: str, dtype: str
) -> None:
    before = state(model, data)
    probe(model, data, norm=norm, dtype=dtype)
    assert_same(state(model, data), before)


def test_batches_given_as_a_list_are_not_changed_by_an_in_place_network(
    model: Everything, data: tuple[Tensor, Tensor]
) -> None:
    before = state(model, data)
    probe(model, [data])
    assert_same(state(model, data), before)


def test_the_hooks_of_a_parameter_do_not_run(
    model: Everything, data: tuple[Tensor, Tensor]
) -> None:
    """An optimizer that steps in the backward pass would change the weights, a hook that masks a
    gradient would change the measurement.
    """
    weight = model.attn.head.weight
    expected = probe(model, data).layers["attn.head"].weight_grad_norm
    weight.register_hook(lambda grad: grad * 0)
    weight.register_post_accumulate_grad_hook(step)
    before = state(model, data)
    measured = probe(model, data).layers["attn.head"].weight_grad_norm
    assert_same(state(model, data), before)
    assert measured == expected > 0


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_a_probe_that_fails_leaves_no_trace(
    model: Everything, data: tuple[Tensor, Tensor], norm: str
) -> None:
    model.failing = True
    before = state(model, data)
    with pytest.raises(Exception, match="this model fails"):
        probe(model, data, norm=norm)
    assert_same(state(model, data), before)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_probe_where_gradients_are_off_still_measures_them(
    model: Everything, data: tuple[Tensor, Tensor], mode: Callable[[], AbstractContextManager[None]]
) -> None:
    expected = probe(model, data, dtype="float64")
    with mode():
        measured = probe(model, data, dtype="float64")
        assert not torch.is_grad_enabled()
    assert list(measured.layers) == list(expected.layers)
    for name, layer in expected.layers.items():
        np.testing.assert_array_equal(measured.layers[name].grad_moment, layer.grad_moment)


@pytest.mark.parametrize("name", [*CASES][::12])
def test_a_network_that_was_probed_can_be_freed(name: str) -> None:
    """A thousand checkpoints in one call would else stay in memory, with their activations."""
    case = CASES[name]
    model = case.model()
    kept = [weakref.ref(parameter) for parameter in model.parameters()]
    probe(model, case.batches(), loss=case.loss, norm=case.norm)
    del model
    gc.collect()
    assert not any(parameter() is not None for parameter in kept)


@pytest.mark.parametrize("name", CASES)
def test_two_probes_of_one_model_are_the_same(name: str) -> None:
    case = CASES[name]
    model = case.model()
    first, second = (probe(model, case.batches(), loss=case.loss, norm=case.norm) for _ in range(2))
    for layer_name, layer in first.layers.items():
        other = second.layers[layer_name]
        np.testing.assert_array_equal(layer.input_moment, other.input_moment)
        np.testing.assert_array_equal(layer.grad_moment, other.grad_moment)


def test_the_random_numbers_of_a_network_start_from_the_seed() -> None:
    net = Net(lambda self, x: self.fc(x + torch.randn_like(x)), fc=nn.Linear(6, 3))
    data = (torch.ones(5, 6), torch.arange(5) % 3)
    means = [probe(net, data, seed=seed).layers["fc"].input_mean for seed in (1, 1, 2)]
    assert (means[0] == means[1]).all()
    assert (means[0] != means[2]).any()


def step(parameter: Tensor) -> None:
    """What an optimizer in the backward pass does: it changes the weight in place."""
    parameter.data.zero_()


def state(model: nn.Module, data: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Everything that a probe might touch, copied, and who is who among what it might swap."""
    found: dict[str, Any] = {
        "modules": {name: id(module) for name, module in model.named_modules()},
        "training": {name: module.training for name, module in model.named_modules()},
        "grad mode": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "function modes": len(_get_current_function_mode_stack()),
        "torch random": torch.get_rng_state(),
        "numpy random": np.random.get_state()[1].tolist(),
        "python random": random.getstate(),
        "x": data[0].clone(),
        "y": data[1].clone(),
        "x requires grad": data[0].requires_grad,
    }
    for hooks in HOOKS:
        found[hooks] = {
            name: list(getattr(module, hooks).values()) for name, module in model.named_modules()
        }
    for kind, tensors in (("parameter", model.parameters()), ("buffer", model.buffers())):
        for i, tensor in enumerate(tensors):
            found[f"{kind} {i}"] = tensor.detach().clone()
            found[f"{kind} {i} is"] = (id(tensor), tensor.data_ptr(), tensor.requires_grad)
            found[f"{kind} {i} grad"] = None if tensor.grad is None else tensor.grad.clone()
            found[f"{kind} {i} grad is"] = id(tensor.grad)
            found[f"{kind} {i} hooks"] = list((tensor._backward_hooks or {}).values())
    for module in (torch, nn.functional, nn.modules.activation, nn.modules.module):
        found[module.__name__] = {name: id(member) for name, member in vars(module).items()}
    return found


def assert_same(after: dict[str, Any], before: dict[str, Any]) -> None:
    assert after.keys() == before.keys()
    changed = [key for key in before if not same(after[key], before[key])]
    assert changed == []


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return bool(one == other)


@pytest.mark.parametrize(
    ("spoil", "key"),
    [
        (lambda model, _: model.bn.num_batches_tracked.add_(1), "buffer 2"),
        (lambda model, _: model.dropout.eval(), "training"),
        (lambda model, _: model.frozen.requires_grad_(True), "parameter 0 is"),
        (lambda model, _: model.attn.head.register_forward_hook(print), "_forward_hooks"),
        (lambda _, data: data[0].relu_(), "x"),
        (lambda *_: torch.rand(1), "torch random"),
    ],
)
def test_the_comparison_of_states_notices_a_change(
    model: Everything,
    data: tuple[Tensor, Tensor],
    spoil: Callable[[Everything, tuple[Tensor, Tensor]], object],
    key: str,
) -> None:
    before = state(model, data)
    spoil(model, data)
    after = state(model, data)
    assert key in [name for name in before if not same(after[name], before[name])]


class KeepsState(nn.Module):
    """Remembers its last output, graph and all, as many recurrent networks do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        self.state = out if self.state is None else out + self.state
        return self.state


def test_a_state_that_a_network_keeps_starts_anew_in_each_batch() -> None:
    x, y = torch.randn(8, 4), torch.arange(8) % 3
    model = KeepsState()
    split = probe(model, [(x[:4], y[:4]), (x[4:], y[4:])], dtype="float64")
    assert model.state is None
    whole = probe(model.layer, [(x, y)], dtype="float64")
    assert split.provenance.loss == pytest.approx(whole.provenance.loss, rel=1e-12)
    np.testing.assert_allclose(
        split.layers["layer"].grad_moment, whole.layers["weight"].grad_moment, rtol=1e-12
    )

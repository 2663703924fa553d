"""Theorems 4.1 and 4.2 hold where they should, and what is measured is what autograd says."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli.analysis.scale_law import ScaleEffect, nearest_law, predicted, scale_law_row
from condcli.errors import UsageError

NAMES = ("0", "1", "2", "3")


class Chain(nn.Module):
    """Four linear layers without biases, each but the last followed by [BN and] ReLU."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes = [5, 16, 16, 16, 3]
        for k in range(4):
            self.add_module(NAMES[k], nn.Linear(sizes[k], sizes[k + 1], bias=False))
        self.norms = (
            nn.ModuleList(nn.BatchNorm1d(16, eps=1e-14) for _ in range(3)) if norm else None
        )
        self.last = nn.BatchNorm1d(3, eps=1e-14) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for k in range(3):
            x = self.get_submodule(NAMES[k])(x)
            x = (x if self.norms is None else self.norms[k](x)).relu()
        out: Tensor = self.last(self.get_submodule("3")(x))
        return out


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(40, 5, generator=generator), torch.arange(40) % 3


@pytest.mark.parametrize(("norm", "law"), [(False, "4.1"), (True, "4.2")])
@pytest.mark.parametrize("alpha", [0.5, 3.0])
def test_both_theorems_hold_on_the_networks_they_are_about(
    norm: bool, law: str, alpha: float
) -> None:
    found = condcli.scale_law(Chain(norm), data(), alpha=alpha)
    assert [row.layer for row in found.rows] == list(NAMES)
    for row in found.rows:
        assert row.law == law
        assert row.deviation == pytest.approx(0, abs=1e-9)
        for effect in found.effects[row.layer]:
            powers = predicted(effect.place, law)
            ratios = (effect.input_ratio, effect.grad_ratio, effect.weight_grad_ratio)
            assert ratios == pytest.approx([alpha**power for power in powers], rel=1e-9)


def test_the_ratios_are_those_of_a_network_scaled_by_hand() -> None:
    x, y = data()
    with_bias = nn.Sequential(
        nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.ELU(), nn.Linear(8, 3)
    )
    found = condcli.scale_law(with_bias, (x, y), alpha=1.7, batch_size=15)
    model = with_bias.double()
    before, output_grad = sizes(model, x.double(), y, None)
    for scaled in ("0", "2", "4"):
        weight = model.get_submodule(scaled).weight
        kept = weight.detach().clone()
        with torch.no_grad():
            weight *= 1.7
        after, _ = sizes(model, x.double(), y, output_grad)
        with torch.no_grad():
            weight.copy_(kept)
        for effect in found.effects[scaled]:
            measured = (effect.input_ratio, effect.grad_ratio, effect.weight_grad_ratio)
            truth = [a / b for a, b in zip(after[effect.layer], before[effect.layer], strict=True)]
            assert measured == pytest.approx(truth, rel=1e-10)


def sizes(
    model: nn.Sequential, x: Tensor, y: Tensor, output_grad: Tensor | None
) -> tuple[dict[str, list[float]], Tensor]:
    """Norms of x, ∂L/∂h and ∂L/∂W of each linear layer, and the gradient at the output."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    for name, module in linear_layers(model):
        inputs[name] = x
        x = module(x)
        if isinstance(module, nn.Linear):
            outputs[name] = x
    loss = nn.functional.cross_entropy(x, y, reduction="sum")
    if output_grad is None:
        (output_grad,) = torch.autograd.grad(loss, x, retain_graph=True)
    found = {}
    for name, h in outputs.items():
        weight = model.get_submodule(name).weight
        grad, of_weight = torch.autograd.grad(x, [h, weight], output_grad, retain_graph=True)
        found[name] = [float(t.detach().norm()) for t in (inputs[name], grad, of_weight)]
    return found, output_grad


def linear_layers(model: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    yield from model.named_children()


def test_the_model_is_left_as_it_was() -> None:
    model = Chain(True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = [p.data_ptr() for p in model.parameters()]
    condcli.scale_law(model, data())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert kept == [p.data_ptr() for p in model.parameters()]
    assert all(p.grad is None for p in model.parameters())


def test_running_statistics_normalise_nothing() -> None:
    found = condcli.scale_law(Chain(True), data(), norm="running", layers=["2"])
    assert [row.law for row in found.rows] == ["4.1"]
    assert [effect.layer for effect in found.effects["2"]] == list(NAMES)


def test_a_network_of_one_layer_and_a_dead_one_have_no_numbers_to_show() -> None:
    (row,) = condcli.scale_law(nn.Linear(5, 3), data()).rows
    assert row.later_inputs is row.earlier_grads is row.other_weight_grads is None
    assert row.own_weight_grad == pytest.approx(0, abs=1e-12)
    dead = Chain(False)
    with torch.no_grad():
        dead.get_submodule("1").weight.fill_(0)
    first, *_ = condcli.scale_law(dead, data()).rows
    assert first.own_weight_grad is None
    assert math.isfinite(first.loss)


def test_exponents_and_the_nearest_law() -> None:
    def effect(place: int, *ratios: float | None) -> ScaleEffect:
        x, grad, weight = ratios
        return ScaleEffect(
            scaled="b",
            layer="abc"[place + 1],
            place=place,
            input_ratio=x,
            grad_ratio=grad,
            weight_grad_ratio=weight,
        )

    effects = [effect(-1, 1, 4, 2), effect(0, 1, 1, 1), effect(1, 2, 1, None)]
    row = scale_law_row(effects, 2.0, 0.5)
    assert (row.earlier_grads, row.later_inputs, row.other_weight_grads) == (2, 1, 1)
    assert (row.law, row.deviation, row.own_weight_grad) == ("4.1", 1, 0)
    nothing = [effect(0, None, None, None)]
    assert scale_law_row(nothing, 2.0, 0.5).deviation is None
    assert nearest_law([effect(0, 1, 0.5, 0.5), effect(1, 1, 1, 1)], 2.0) == "4.2"


@pytest.mark.parametrize("alpha", [0, -1, 1, math.inf, math.nan])
def test_an_alpha_that_scales_nothing_is_refused(alpha: float) -> None:
    with pytest.raises(UsageError, match="scales nothing"):
        condcli.scale_law(Chain(False), data(), alpha=alpha)


def test_a_glob_without_layers_is_an_error() -> None:
    with pytest.raises(UsageError, match="leaves no layer to scale"):
        condcli.scale_law(Chain(False), data(), layers=["fc*"])

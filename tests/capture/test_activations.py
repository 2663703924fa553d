"""Active and saturated counts of every activation call site, against a forward pass by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from condcli.api import probe
from condcli.stats import ActivationStats

MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def activations(model: nn.Module, *batches: Tensor) -> dict[str, ActivationStats]:
    data = [(x, torch.zeros(len(x), dtype=torch.int64)) for x in batches]
    return dict(probe(model, data, dtype="float64").activations)


class Net(nn.Module):
    """Modules by name, and a forward that is given as a function of them."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **modules: nn.Module):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.forward_of = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_of(self, x)


@pytest.mark.parametrize("function", MODULES)
def test_an_activation_module_counts_where_its_output_is_above_zero(function: str) -> None:
    torch.manual_seed(0)
    act = MODULES[function]()
    model = nn.Sequential(nn.Linear(4, 6), act, nn.Linear(6, 3)).double()
    x = torch.randn(9, 4, dtype=torch.float64)
    stats = activations(model, x[:5], x[5:])
    assert list(stats) == ["1"]
    assert (stats["1"].function, stats["1"].units, stats["1"].rows) == (function, 6, 9)
    expected = (act(model[0](x)) > 0).sum(0)
    assert stats["1"].active_count.tolist() == expected.tolist()
    assert stats["1"].active_count.dtype == np.int64


@pytest.mark.parametrize("function", MODULES)
def test_a_functional_activation_is_counted_like_its_module(function: str) -> None:
    torch.manual_seed(0)
    call = getattr(functional, function)
    net = Net(lambda self, x: self.fc2(call(self.fc1(x))), fc1=nn.Linear(4, 6), fc2=nn.Linear(6, 3))
    x = torch.randn(9, 4)
    stats = activations(net, x)
    assert list(stats) == [function]
    expected = (call(net.fc1.double()(x.double())) > 0).sum(0)
    assert stats[function].active_count.tolist() == expected.tolist()


def test_the_channels_of_a_feature_map_are_its_units() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(45, 3)
    )
    x = torch.randn(4, 2, 5, 5)
    stats = activations(model, x)["2"]
    assert (stats.units, stats.rows) == (5, 4 * 9)
    maps = model.double()[:2](x.double())
    assert stats.active_count.tolist() == (maps > 0).sum((0, 2, 3)).tolist()


def test_the_channels_of_a_one_dimensional_feature_map_are_its_units() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3))
    x = torch.randn(4, 2, 6)
    stats = activations(model, x)["1"]
    assert (stats.units, stats.rows) == (5, 4 * 4)
    assert stats.active_count.tolist() == (model.double()[0](x.double()) > 0).sum((0, 2)).tolist()


@pytest.mark.parametrize("shape", [(4, 7, 6), (4, 3, 2, 6)])
def test_the_features_of_a_token_are_the_units_of_a_linear_layer(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = Net(
        lambda self, x: self.fc2(self.norm(functional.gelu(self.fc1(x)))).flatten(1, -2).mean(1),
        fc1=nn.Linear(6, 5),
        norm=nn.LayerNorm(5),
        fc2=nn.Linear(5, 3),
    )
    x = torch.randn(shape)
    stats = activations(net, x)["gelu"]
    assert (stats.units, stats.rows) == (5, x[..., 0].numel())
    expected = (net.fc1.double()(x.double()) > 0).flatten(0, -2).sum(0)
    assert stats.active_count.tolist() == expected.tolist()


def test_after_a_normalisation_the_features_of_a_token_are_still_the_units() -> None:
    torch.manual_seed(0)
    net = Net(
        lambda self, x: self.fc2(torch.relu(self.norm(self.fc1(x)))).mean(1),
        fc1=nn.Linear(6, 5),
        norm=nn.LayerNorm(5),
        fc2=nn.Linear(5, 3),
    )
    stats = activations(net, torch.randn(4, 7, 6))["relu"]
    assert (stats.units, stats.rows) == (5, 28)


def test_every_call_site_has_its_own_name_and_count() -> None:
    torch.manual_seed(0)
    block = Net(
        lambda self, x: functional.relu(self.relu(self.fc(x)) - 0.3),
        fc=nn.Linear(6, 6),
        relu=nn.ReLU(),
    )
    net = Net(
        lambda self, x: self.head(torch.tanh(torch.relu(self.act(self.block(self.act(x))) - 0.3))),
        block=block,
        act=nn.ReLU(),
        head=nn.Linear(6, 3),
    )
    x = torch.randn(8, 6)
    stats = activations(net, x)
    first = torch.relu(x.double())
    second = torch.relu(block.double().fc(first))
    third = torch.relu(second - 0.3)
    last = torch.relu(third - 0.3)
    outputs = {
        "act": first,
        "block.relu": second,
        "block/relu": third,
        "act:2": third,  # the ReLU of what a ReLU gave
        "relu": last,
        "tanh": torch.tanh(last),
    }
    assert list(stats) == list(outputs)
    for name, output in outputs.items():
        assert stats[name].active_count.tolist() == (output > 0).sum(0).tolist(), name


def test_one_module_used_everywhere_is_counted_at_each_call() -> None:
    torch.manual_seed(0)
    relu = nn.ReLU(inplace=True)
    fc1, fc2, fc3 = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)
    model = nn.Sequential(fc1, relu, fc2, relu, fc3)
    x = torch.randn(8, 6)
    stats = activations(model, x)
    assert {name: one.units for name, one in stats.items()} == {"1": 5, "1:2": 4}
    h1 = fc1.double()(x.double())
    assert stats["1"].active_count.tolist() == (h1 > 0).sum(0).tolist()
    assert stats["1:2"].active_count.tolist() == (fc2.double()(h1.relu()) > 0).sum(0).tolist()


@pytest.mark.parametrize("batches", [1, 3])
def test_names_do_not_grow_with_the_number_of_batches(batches: int) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    stats = activations(model, *torch.randn(batches, 5, 4))
    assert list(stats) == ["1"]
    assert stats["1"].rows == 5 * batches


def test_dead_and_full_units_are_seen_as_such() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].weight[1, 0] = 1
        model[0].bias.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    x = torch.tensor([[1.0, 0, 0, 0], [-1, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])
    assert activations(model, x)["1"].active_count.tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("act", "inputs", "saturated"),
    [
        (nn.Tanh(), [2.2, 2.4, -2.2, -2.4], [0, 1, 0, 1]),  # tanh y: .976 .984
        (nn.Sigmoid(), [4.5, 4.7, -4.5, -4.7], [0, 1, 0, 1]),  # sigmoid y: .9890 .9910
    ],
)
def test_saturated_outputs_are_those_near_the_ends(
    act: nn.Module, inputs: list[float], saturated: list[int]
) -> None:
    model = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4))
        model[0].bias.zero_()
    stats = activations(model, torch.tensor([inputs, [0.0] * 4]))["1"]
    assert stats.saturated_count is not None
    assert stats.saturated_count.tolist() == saturated


def test_only_sigmoid_and_tanh_have_a_saturated_count() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    assert activations(model, torch.randn(5, 4))["1"].saturated_count is None

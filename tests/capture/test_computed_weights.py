"""Weights that the forward pass computes, against plain networks with the computed values."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune

from condcli.api import probe
from condcli.stats import ProbeStats

from .attention import SelfAttention, with_plain_attention
from .cases import labelled
from .reference import measure
from .test_activations import Net
from .test_against_reference import assert_agreement

CLASSES = 3


class Standardized(nn.Conv2d):
    """Weight standardisation as timm writes it: batch normalisation of the weight."""

    def forward(self, x: Tensor) -> Tensor:
        weight = functional.batch_norm(
            self.weight.reshape(1, self.out_channels, -1), None, None, training=True, momentum=0.0
        ).reshape_as(self.weight)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class Merged(nn.Linear):
    """A low-rank adapter that is added to the weight in the forward pass."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__(d_in, d_out)
        self.lora_a = nn.Parameter(torch.randn(2, d_in))
        self.lora_b = nn.Parameter(torch.randn(d_out, 2))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight + 0.5 * (self.lora_b @ self.lora_a), self.bias)


class Scaled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight.tanh()


def _old(function: Callable[..., nn.Module], *args: object) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args)


def _pruned(module: nn.Module) -> nn.Module:
    return prune.random_unstructured(module, "weight", amount=0.5)


LINEAR: dict[str, Callable[[], nn.Module]] = {
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(6, 5)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 5)).eval(),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 5)),
    "two parametrizations of weight and bias": lambda: _twice(nn.Linear(6, 5)),
    "weight_norm by hooks": lambda: _old(nn.utils.weight_norm, nn.Linear(6, 5)),
    "spectral_norm by hooks": lambda: nn.utils.spectral_norm(nn.Linear(6, 5)).eval(),
    "pruned": lambda: _pruned(nn.Linear(6, 5)),
    "merged adapter": lambda: Merged(6, 5),
}


def _twice(module: nn.Linear) -> nn.Module:
    parametrize.register_parametrization(module, "weight", Scaled())
    parametrize.register_parametrization(module, "weight", Scaled())
    return parametrize.register_parametrization(module, "bias", Scaled())


def plain(module: nn.Module) -> nn.Linear:
    """The nn.Linear with the values that a module computes."""
    if isinstance(module, Merged):
        weight, bias = module.weight + 0.5 * (module.lora_b @ module.lora_a), module.bias
    else:
        module(torch.zeros(1, 6).double())  # hooks compute the weight before a call
        weight, bias = module.weight, module.bias
    twin = nn.Linear(6, 5).double()
    twin.weight.data, twin.bias.data = weight.detach().clone(), bias.detach().clone()
    return twin


@pytest.mark.parametrize("name", LINEAR)
def test_a_computed_weight_is_that_of_a_plain_layer(name: str) -> None:
    torch.manual_seed(1)
    odd, head = LINEAR[name]().double(), nn.Linear(5, CLASSES).double()
    model = nn.Sequential(odd, nn.Tanh(), head)
    batches = labelled(6, sizes=(4, 3))()
    stats = probe(model, batches, dtype="float64")
    truth = measure(nn.Sequential(plain(odd), nn.Tanh(), head), batches)
    assert_agreement(stats, truth, rel=1e-10)
    assert list(stats.activations) == ["1"]
    assert sum(layer.parameters for layer in stats.layers.values()) == stats.provenance.parameters
    assert not stats.skipped


@pytest.mark.parametrize("conv", ["channels", "patches"])
def test_a_standardized_convolution_is_that_of_a_plain_one(conv: str) -> None:
    torch.manual_seed(1)
    odd = Standardized(2, 3, 3, stride=2, padding=1)
    model = nn.Sequential(odd, nn.ReLU(), nn.Flatten(), nn.Linear(12, CLASSES)).double()
    batches = labelled(2, 4, 4, sizes=(4, 3))()
    stats = probe(model, batches, conv=conv, dtype="float64")
    twin = deepcopy(model)
    twin[0] = nn.Conv2d(2, 3, 3, stride=2, padding=1).double()
    rows = model[0].weight.detach().flatten(1)
    normed = (rows - rows.mean(1, keepdim=True)) / (
        rows.var(1, correction=0)[:, None] + 1e-5
    ).sqrt()
    twin[0].weight.data = normed.reshape(3, 2, 3, 3)
    twin[0].bias.data = model[0].bias.detach()
    assert_agreement(stats, measure(twin, batches, conv=conv), rel=1e-10)


def test_a_parametrized_layer_called_twice_is_one_layer() -> None:
    torch.manual_seed(1)
    shared = parametrizations.weight_norm(nn.Linear(6, 6))
    net = Net(
        lambda self, x: self.head(torch.tanh(self.shared(torch.tanh(self.shared(x))))),
        shared=shared,
        head=nn.Linear(6, CLASSES),
    ).double()
    batches = labelled(6, sizes=(4, 3))()
    stats = probe(net, batches, dtype="float64", per_example="all")
    twin = deepcopy(net)
    parametrize.remove_parametrizations(twin.shared, "weight")
    truth = measure(twin, batches)
    assert_agreement(stats, truth, rel=1e-10)
    assert stats.layers["shared"].weight_grad_moment_lambda_max == pytest.approx(
        truth["shared"].weight_grad_moment_lambda_max, rel=1e-10
    )


def test_a_parametrized_attention_has_its_four_projections() -> None:
    torch.manual_seed(1)
    net = SelfAttention(batch_first=True).double()
    parametrize.register_parametrization(net.attn, "in_proj_weight", Scaled())
    batches = labelled(5, 6)()
    stats = probe(net, batches, dtype="float64")
    twin = deepcopy(net)
    parametrize.remove_parametrizations(twin.attn, "in_proj_weight")
    assert_agreement(stats, measure(with_plain_attention(twin), batches), rel=1e-10)


def test_a_parametrized_recurrent_layer_and_embedding_keep_their_names() -> None:
    net = Net(
        lambda self, x: self.head(self.rnn(self.embedding(x))[0][:, -1]),
        embedding=parametrizations.weight_norm(nn.Embedding(5, 4)),
        rnn=parametrizations.weight_norm(nn.GRU(4, 6, batch_first=True), "weight_hh_l0"),
        head=nn.Linear(6, CLASSES),
    )
    tokens = torch.arange(12).reshape(3, 4) % 5
    stats = probe(net, (tokens, torch.arange(3)), dtype="float64")
    assert list(stats.layers) == ["embedding", "rnn.weight_ih_l0", "rnn.weight_hh_l0", "head"]
    assert not stats.skipped


def test_the_weight_that_hooks_left_in_a_module_is_back_after_a_probe() -> None:
    module = _old(nn.utils.weight_norm, nn.Linear(6, CLASSES))
    before = module.weight
    probe(nn.Sequential(module), labelled(6)(), dtype="float64")
    assert module.weight is before


def test_matrices_of_a_stack_are_layers_by_their_number() -> None:
    """Two experts of three, as Mixtral's code calls them."""

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Parameter(torch.randn(3, 5, 6))
            self.head = nn.Linear(5, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            parts = [functional.linear(x[e::2], self.up[e]) for e in (0, 1)]
            return self.head(torch.cat(parts).tanh())

    torch.manual_seed(1)
    net = Experts()
    x, y = torch.randn(6, 6), torch.arange(6) % CLASSES
    stats = probe(net, (x, y), dtype="float64")
    assert list(stats.layers) == ["up.0", "up.1", "head"]
    assert [layer.parameters for layer in stats.layers.values()] == [30, 30, 18]
    assert (stats.skipped["up"].parameters, stats.skipped["up"].shape) == (30, (3, 5, 6))
    rows = x[1::2].double().numpy()
    np.testing.assert_allclose(stats.layers["up.1"].input_moment, rows.T @ rows / 3, rtol=1e-12)


def test_runs_of_rows_are_layers_by_their_places() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = nn.Parameter(torch.randn(8, 6))

        def forward(self, x: Tensor) -> Tensor:
            first = functional.linear(x, self.both[:4]) * functional.linear(x, self.both[4:])
            return first[:, :CLASSES]

    torch.manual_seed(1)
    net, x, y = Halves(), torch.randn(6, 6), torch.arange(6) % CLASSES
    stats = probe(net, (x, y), dtype="float64")
    assert [(name, layer.parameters) for name, layer in stats.layers.items()] == [
        ("both.0-4", 24),
        ("both.4-8", 24),
    ]
    weight = net.both.detach().double()
    for name, half in {"both.0-4": weight[:4], "both.4-8": weight[4:]}.items():
        expected = torch.linalg.svdvals(half).numpy()
        np.testing.assert_allclose(stats.layers[name].weight_singular_values, expected, rtol=1e-10)


def test_wrapped_adapters_are_plain_layers() -> None:
    """The layout of peft: a frozen linear layer, and beside it two small ones."""

    class Wrapped(nn.Module):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base_layer = base.requires_grad_(False)
            self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, 2, bias=False)})
            self.lora_B = nn.ModuleDict({"default": nn.Linear(2, base.out_features, bias=False)})

        def forward(self, x: Tensor) -> Tensor:
            return self.base_layer(x) + 0.5 * self.lora_B["default"](self.lora_A["default"](x))

    model = nn.Sequential(Wrapped(nn.Linear(6, CLASSES)))
    batches = labelled(6)()
    stats = probe(model, batches, dtype="float64")
    assert list(stats.layers) == ["0.base_layer", "0.lora_A.default", "0.lora_B.default"]
    assert_agreement(stats, measure(model, batches), rel=1e-11)


def test_the_example_gradients_of_a_weight_with_two_roles_are_not_given() -> None:
    """conv as a convolution and as a matrix: two layers, one ∂L/∂W, no example's own."""
    net = Net(
        lambda self, x: self.head(
            functional.linear(self.conv(x[..., None])[..., 0], self.conv.weight.squeeze(-1))
        ),
        conv=nn.Conv1d(6, 6, 1),
        head=nn.Linear(6, CLASSES),
    )
    stats = probe(net, labelled(6)(), dtype="float64", per_example="all")
    assert list(stats.layers) == ["conv", "conv/linear", "head"]
    assert [layer.parameters for layer in stats.layers.values()] == [42, 0, 21]
    assert "conv/linear" in stats.layers["conv"].weight_grad_moment_note


MATRICES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "of data": lambda net, x: x.tanh(),
    "in a buffer": lambda net, x: net.bank * 2,
    "of data, in place of constants": lambda net, x: _overwritten(torch.zeros(5, 6).to(x), x),
    "of data, among parameters": lambda net, x: net.head.weight.sum() + x,
}


def _overwritten(cache: Tensor, x: Tensor) -> Tensor:
    cache[:3] = x[:3]
    cache[3:].copy_(x[3:])
    return cache


@pytest.mark.parametrize("name", MATRICES)
def test_a_product_with_a_matrix_that_is_no_weight_is_no_layer(name: str) -> None:
    net = Net(
        lambda self, x: self.head(x) + (x @ MATRICES[name](self, x).t()).sum(1, keepdim=True),
        head=nn.Linear(6, CLASSES),
    )
    net.register_buffer("bank", torch.randn(5, 6))
    assert list(probe(net, labelled(6)()).layers) == ["head"]


def test_a_weight_with_other_values_in_each_call_is_skipped_with_a_reason() -> None:
    net = Net(
        lambda self, x: self.head(torch.tanh(sum(self.mixed(self, x) for _ in range(2)))),
        head=nn.Linear(5, CLASSES),
    )
    net.matrix = nn.Parameter(torch.randn(5, 6))
    net.mixed = lambda self, x: functional.linear(x, self.matrix * torch.rand(5, 1).to(x))
    stats = probe(net, labelled(6)(), dtype="float64")
    assert list(stats.layers) == ["head"]
    assert "not always" in stats.skipped["matrix"].reason
    assert accounted(stats)


def accounted(stats: ProbeStats) -> bool:
    parts = [*stats.layers.values(), *stats.skipped.values()]
    return sum(part.parameters for part in parts) == stats.provenance.parameters

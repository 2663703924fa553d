"""What is a layer, what it is called, and that nothing is dropped in silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from condcli.api import probe
from condcli.errors import CondcliError, InputError
from condcli.stats import ProbeStats

from . import attention, odd_models, shared_weights
from .cases import CASES
from .test_activations import Net


def stats_of(model: nn.Module, *shape: int, **options: object) -> ProbeStats:
    torch.manual_seed(0)
    y = torch.arange(shape[0]) % 3
    return probe(model, (torch.randn(shape), y), dtype="float64", **options)


def test_attention_has_four_projections() -> None:
    stats = stats_of(attention.SelfAttention(batch_first=True), 4, 5, 6)
    names = ["attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj", "head"]
    assert list(stats.layers) == names
    assert {stats.layers[name].kind for name in names} == {"linear"}
    assert not stats.skipped


def test_bare_parameters_are_layers_under_their_own_path() -> None:
    stats = stats_of(shared_weights.Functional(), 4, 2, 4, 4)
    kinds = {name: layer.kind for name, layer in stats.layers.items()}
    assert kinds == {"kernel": "conv2d", "inner.matrix": "linear", "out": "linear"}


def test_every_kind_has_its_name() -> None:
    for name, kind in {
        "conv1d": "conv1d",
        "conv2d depthwise": "conv2d",
        "conv3d": "conv3d",
        "conv_transpose1d": "conv_transpose1d",
        "conv_transpose2d grouped": "conv_transpose2d",
        "conv_transpose3d": "conv_transpose3d",
        "huggingface conv1d": "linear",
    }.items():
        case = CASES[name]
        layers = probe(case.model(), case.batches()).layers
        assert layers["conv" if "conv" in layers else "c_fc"].kind == kind


def test_the_order_is_that_of_the_forward_pass() -> None:
    net = Net(
        lambda self, x: self.a(self.c(self.b(x))),
        a=nn.Linear(6, 3),
        b=nn.Linear(6, 6),
        c=nn.Linear(6, 6),
    )
    layers = stats_of(net, 4, 6).layers
    assert list(layers) == ["b", "c", "a"]
    orders = [layer.order for layer in layers.values()]
    assert orders == sorted(set(orders))


def test_a_layer_that_never_runs_is_skipped_with_a_reason() -> None:
    net = Net(lambda self, x: self.used(x), used=nn.Linear(6, 3), idle=nn.Linear(6, 3))
    stats = stats_of(net, 4, 6)
    assert list(stats.layers) == ["used"]
    assert stats.skipped["idle"].reason


def test_a_layer_that_the_loss_does_not_depend_on_is_skipped_with_a_reason() -> None:
    net = Net(
        lambda self, x: self.used(x) + 0 * self.cut(x).detach(),
        used=nn.Linear(6, 3),
        cut=nn.Linear(6, 3),
    )
    stats = stats_of(net, 4, 6)
    assert list(stats.layers) == ["used"]
    assert stats.skipped["cut"].reason


def test_a_backbone_under_no_grad_is_skipped_with_a_reason() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.backbone(x)
        return self.head(x)

    stats = stats_of(Net(forward, backbone=nn.Linear(6, 6), head=nn.Linear(6, 3)), 4, 6)
    assert list(stats.layers) == ["head"]
    assert stats.skipped["backbone"].reason


def test_a_layer_half_of_whose_calls_get_no_gradient_is_not_measured_by_the_other_half() -> None:
    net = Net(
        lambda self, x: self.head(torch.tanh(self.shared(x)) + self.shared(2 * x).detach()),
        shared=nn.Linear(6, 6),
        head=nn.Linear(6, 3),
    )
    stats = stats_of(net, 4, 6)
    assert list(stats.layers) == ["head"]
    assert stats.skipped["shared"].reason


def test_a_layer_that_sees_no_rows_is_skipped_with_a_reason() -> None:
    net = Net(
        lambda self, x: self.fc(torch.cat([self.all(x), self.none(x[:0])])),
        all=nn.Linear(6, 5),
        none=nn.Linear(6, 5),
        fc=nn.Linear(5, 3),
    )
    stats = stats_of(net, 4, 6)
    assert list(stats.layers) == ["all", "fc"]
    assert stats.skipped["none"].reason


@pytest.mark.parametrize("width", [6, 4])
def test_the_transpose_of_a_layers_weight_is_not_pooled_with_the_layer(width: int) -> None:
    """h = Wᵀx is another linear map than h = Wx: their rows have no moment in common."""
    net = Net(
        lambda self, x: self.head(functional.linear(torch.tanh(self.fc(x)), self.fc.weight.t())),
        fc=nn.Linear(6, width),
        head=nn.Linear(6, 3),
    )
    stats = stats_of(net, 5, 6)
    assert "head" in stats.layers
    assert "fc" in stats.skipped or stats.layers["fc"].rows == 5


def test_a_network_that_overwrites_what_a_frozen_layer_read_is_refused() -> None:
    """It runs, but the frozen layer's ∂L/∂W is lost: that input is gone."""
    with pytest.raises(CondcliError):
        stats_of(odd_models.OverwrittenInput(), 5, 6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_layer_has_its_parameters_names(kind: type[nn.Module]) -> None:
    odd = kind(6, 4, batch_first=True)
    net = Net(lambda self, x: self.head(self.odd(x)[0][:, -1]), odd=odd, head=nn.Linear(4, 3))
    stats = stats_of(net, 4, 5, 6)
    assert list(stats.layers) == ["odd.weight_ih_l0", "odd.weight_hh_l0", "head"]
    assert not stats.skipped


def test_matrix_weights_of_other_kinds_are_skipped_with_a_reason() -> None:
    net = Net(
        lambda self, x: self.head(self.bilinear(x, x) + self.table[1]),
        bilinear=nn.Bilinear(6, 6, 4),
        head=nn.Linear(4, 3),
    )
    net.table = nn.Parameter(torch.randn(3, 4))
    stats = stats_of(net, 4, 6)
    assert list(stats.layers) == ["head"]
    assert {name: (item.shape, item.parameters) for name, item in stats.skipped.items()} == {
        "bilinear": ((4, 6, 6), 148),
        "table": ((3, 4), 12),
    }
    assert "bilinear" in stats.skipped["bilinear"].reason


def test_a_parametrised_layer_is_probed_or_skipped_but_not_lost() -> None:
    torch.manual_seed(1)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 5))
    net = nn.Sequential(normed, nn.Tanh(), nn.Linear(5, 3))
    stats = stats_of(net, 4, 6)
    assert any(name.startswith("0") for name in [*stats.layers, *stats.skipped])
    assert "2" in stats.layers


def test_a_matrix_that_is_multiplied_by_hand_is_probed_or_skipped_but_not_lost() -> None:
    class ByHand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(6, 5))
            self.head = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(x @ self.matrix))

    stats = stats_of(ByHand(), 4, 6)
    assert {"matrix", "head"} == {*stats.layers, *stats.skipped}


def test_reentrant_checkpointing_is_probed_or_skipped_but_not_wrong() -> None:
    """Its first forward builds no graph; the second runs in the backward."""

    class Reentrant(odd_models.Checkpointed):
        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(self.first(x))
            return self.fc(torch.tanh(checkpoint(self.block, x, use_reentrant=True)))

    stats = stats_of(Reentrant(), 4, 6)
    assert {"first", "fc"} <= set(stats.layers)
    assert {"block.0", "block.2"} <= {*stats.layers, *stats.skipped}
    for name in {"block.0", "block.2"} & set(stats.layers):
        assert (stats.layers[name].rows, stats.layers[name].input_rows) == (4, 4)


def test_layers_and_exclude_choose_by_pattern() -> None:
    net = Net(
        lambda self, x: self.head(self.block(x)),
        block=nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)),
        head=nn.Linear(6, 3),
    )
    assert list(stats_of(net, 4, 6, layers=["block.*"]).layers) == ["block.0", "block.2"]
    assert list(stats_of(net, 4, 6, exclude=["block.0", "head"]).layers) == ["block.2"]
    whole = stats_of(net, 4, 6).layers["block.2"]
    alone = stats_of(net, 4, 6, layers=["block.2"]).layers["block.2"]
    assert (whole.grad_moment == alone.grad_moment).all()


def test_a_convolutions_weight_used_as_a_matrix_is_no_row_of_the_convolution() -> None:
    net = Net(
        lambda self, x: self.head(
            functional.linear(
                torch.tanh(self.conv(x.transpose(1, 2))).transpose(1, 2),
                self.conv.weight.squeeze(-1),
            ).mean(1)
        ),
        conv=nn.Conv1d(6, 6, 1, bias=False),
        head=nn.Linear(6, 3),
    )
    stats = stats_of(net, 4, 5, 6)
    assert "head" in stats.layers
    assert "conv" in stats.skipped or stats.layers["conv"].rows == 20


def test_an_exported_program_has_the_layers_of_its_model() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))
    x, y = torch.randn(5, 2, 4, 4), torch.arange(5) % 3
    exported = torch.export.export(model, (x,)).module()
    expected = probe(model, (x, y), dtype="float64").layers
    measured = probe(exported, [(x, y)], dtype="float64").layers
    assert list(measured) == list(expected)
    for name, layer in expected.items():
        np.testing.assert_allclose(measured[name].input_moment, layer.input_moment, rtol=1e-12)
        np.testing.assert_allclose(measured[name].grad_moment, layer.grad_moment, rtol=1e-12)


def test_complex_weights_are_skipped_with_a_reason() -> None:
    net = Net(
        lambda self, x: self.head(functional.linear(x.to(torch.complex128), self.waves).real),
        head=nn.Linear(4, 3),
    )
    net.waves = nn.Parameter(torch.randn(4, 6, dtype=torch.complex128))
    stats = stats_of(net, 5, 6)
    assert list(stats.layers) == ["head"]
    assert "linear" in stats.skipped["waves"].reason


def test_a_model_whose_parameters_have_no_shape_yet_is_refused() -> None:
    with pytest.raises(InputError, match="lazy"):
        stats_of(nn.Sequential(nn.LazyLinear(3)), 5, 6)


def test_an_exported_weight_norm_keeps_its_modules_name() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)))
    x, y = torch.randn(5, 6), torch.arange(5) % 3
    stats = probe(torch.export.export(model, (x,)).module(), [(x, y)], dtype="float64")
    assert list(stats.layers) == ["0"]
    assert not stats.skipped

"""Laws that every probe obeys, on real networks over the digits that condcli ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import condcli.data
from condcli.api import probe
from condcli.stats import FloatArray, LayerStats, ProbeStats

from .cases import CASES, labelled
from .convolutions import ConvNet
from .reference import Batch

VIEWS = ("channels", "patches")
ARRAYS = (
    "input_moment",
    "input_mean",
    "grad_moment",
    "grad_mean",
    "weight_singular_values",
    "weight_grad_singular_values",
)
DEPTH, WIDTH = 6, 32


@pytest.fixture(scope="module")
def digits() -> Batch:
    """200 of the real digits, flattened, with their labels."""
    with np.load(Path(condcli.data.__file__).with_name("digits.npz")) as archive:
        pixels, labels = archive["x"][:200], archive["y"][:200]
    x = torch.from_numpy(pixels.reshape(200, 64)).double() / 16
    return x, torch.from_numpy(labels).long()


@pytest.mark.parametrize("name", ["mlp with bn, running statistics", "conv2d grouped", "mlp, mse"])
@pytest.mark.parametrize("conv", VIEWS)
def test_the_split_into_batches_changes_no_number(name: str, conv: str) -> None:
    case = CASES[name]
    batches = case.batches()
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    options = {"conv": conv, "norm": "running", "dtype": "float64", "per_example": "all"}
    splits = [probe(case.model(), (x, y), batch_size=size, **options) for size in (1, 2, len(x))]
    for stats in splits[1:]:
        assert_equal(stats, splits[0])


def assert_equal(stats: ProbeStats, other: ProbeStats) -> None:
    assert list(stats.layers) == list(other.layers)
    assert stats.provenance.loss == pytest.approx(other.provenance.loss, rel=1e-12)
    for name, layer in stats.layers.items():
        twin = other.layers[name]
        assert (layer.rows, layer.positions) == (twin.rows, twin.positions)
        for array in ARRAYS:
            mine, theirs = getattr(layer, array), getattr(twin, array)
            np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11 * abs(theirs).max())
        assert layer.weight_grad_moment_lambda_max == pytest.approx(
            twin.weight_grad_moment_lambda_max, rel=1e-10
        )


def test_the_gradient_moment_of_a_softmax_head_has_rank_below_the_number_of_classes(
    digits: Batch,
) -> None:
    """The entries of a softmax head's δ add up to zero."""
    head = last_layer(probe(mlp(10), digits, dtype="float64"))
    eigenvalues = np.linalg.eigvalsh(head.grad_moment)
    assert eigenvalues[0] < 1e-14 * eigenvalues[-1]
    assert eigenvalues[1] > 1e-9 * eigenvalues[-1]
    assert abs(head.grad_moment.sum(0)).max() < 1e-14 * eigenvalues[-1]


def test_no_moment_has_a_rank_above_its_number_of_rows(digits: Batch) -> None:
    x, y = digits
    for layer in probe(mlp(10), (x[:7], y[:7]), dtype="float64").layers.values():
        assert layer.rows == 7
        assert np.linalg.matrix_rank(layer.input_moment, hermitian=True) <= 7
        assert np.linalg.matrix_rank(layer.grad_moment, hermitian=True) <= 7


def test_moments_are_symmetric_and_have_no_negative_eigenvalue(digits: Batch) -> None:
    for layer in probe(mlp(10), digits, dtype="float64").layers.values():
        for moment, mean in (
            (layer.input_moment, layer.input_mean),
            (layer.grad_moment, layer.grad_mean),
        ):
            np.testing.assert_array_equal(moment, moment.T)
            covariance = moment - np.outer(mean, mean)
            assert np.linalg.eigvalsh(moment)[0] > -1e-13 * np.trace(moment)
            assert np.linalg.eigvalsh(covariance)[0] > -1e-13 * np.trace(moment)


def test_scaling_the_weights_of_a_rectifier_net_scales_all_its_layers(digits: Batch) -> None:
    """Theorem 4.1: x̃_k = (Π_{i<k} α_i) x, and δ̃_k = (Π_{i>k} α_i) δ_k when h_K stays the same."""
    alphas = [1.7, 0.3, 2.9, 0.8, 1.3]
    alphas.append(1 / float(np.prod(alphas)))  # so that the output, and with it ∂L/∂h_K, stays
    model = mlp(10)
    plain = probe(model, digits, dtype="float64")
    scale_weights(model, alphas)
    scaled = probe(model, digits, dtype="float64")
    for k, (before, after) in enumerate(pairs(plain, scaled)):
        below, above = float(np.prod(alphas[:k])), float(np.prod(alphas[k + 1 :]))
        assert_scaled(after.input_moment, before.input_moment, below**2)
        assert_scaled(after.grad_moment, before.grad_moment, above**2)
        assert_scaled(
            after.weight_grad_singular_values, before.weight_grad_singular_values, below * above
        )
        assert lambda_max(after.input_moment) == pytest.approx(
            below**2 * lambda_max(before.input_moment), rel=1e-10
        )
        assert after.weight_grad_moment_lambda_max == pytest.approx(
            (below * above) ** 2 * before.weight_grad_moment_lambda_max, rel=1e-10
        )


def test_with_bn_the_scale_of_a_layer_moves_no_other_layer(digits: Batch) -> None:
    """Theorem 4.2: x̃_k = x_k, δ̃_k = δ_k / α_k and ∂L/∂W̃_k = ∂L/∂W_k / α_k."""
    alphas = [1.7, 0.3, 2.9, 0.8, 1.3]
    model = mlp(10, norm=True)
    plain = probe(model, digits, dtype="float64")
    scale_weights(model, [*alphas, 1])  # the head has no BN after it
    scaled = probe(model, digits, dtype="float64")
    for (before, after), alpha in zip(pairs(plain, scaled), [*alphas, 1], strict=True):
        assert_scaled(after.input_moment, before.input_moment, 1)
        assert_scaled(after.grad_moment, before.grad_moment, alpha**-2)
        assert lambda_max(after.grad_moment) == pytest.approx(
            lambda_max(before.grad_moment) / alpha**2, rel=1e-10
        )
        assert_scaled(
            after.weight_grad_singular_values, before.weight_grad_singular_values, 1 / alpha
        )


@pytest.mark.parametrize("conv", VIEWS)
@pytest.mark.parametrize(("channels", "outputs"), [(3, 3), (3, 6)])
def test_a_depthwise_convolution_is_its_separate_convolutions(
    conv: str, channels: int, outputs: int
) -> None:
    """Each group's network sees one group; the other groups' maps reach its head as constants."""
    torch.manual_seed(4)
    depthwise = nn.Conv2d(channels, outputs, 3, groups=channels, padding=1, stride=2)
    net = ConvNet(depthwise, channels, 5, 5)
    batches = labelled(channels, 5, 5, sizes=(4, 3))()
    together = probe(net, batches, conv=conv, dtype="float64").layers["conv"]
    singular_values = []
    for group in range(channels):
        alone = probe(OneGroup(net, group), batches, conv=conv, dtype="float64").layers["conv"]
        assert alone.groups == 1
        assert_scaled(together.input_moment[group], alone.input_moment, 1)
        assert_scaled(together.grad_moment[group], alone.grad_moment, 1)
        singular_values.append(alone.weight_grad_singular_values)
    pooled = np.sort(np.concatenate(singular_values))[::-1]
    assert_scaled(together.weight_grad_singular_values, pooled, 1)


class OneGroup(nn.Module):
    """The network with one group of its depthwise convolution as an ordinary convolution."""

    def __init__(self, net: ConvNet, group: int) -> None:
        super().__init__()
        whole = net.conv
        share = whole.out_channels // whole.groups
        self.rows = slice(group * share, (group + 1) * share)
        self.group = group
        self.frozen = [net]  # in a list, so that the whole network is no part of this one
        self.conv = nn.Conv2d(1, share, 3, padding=1, stride=2)
        with torch.no_grad():
            self.conv.weight.copy_(whole.weight[self.rows])
            self.conv.bias.copy_(whole.bias[self.rows])

    def forward(self, x: Tensor) -> Tensor:
        net = self.frozen[0].to(x.dtype)
        with torch.no_grad():
            maps = torch.tanh(net.stem(x))
            others = net.conv(maps)
        h = others.clone()
        h[:, self.rows] = self.conv(maps[:, self.group : self.group + 1])
        return torch.tanh(h).flatten(1) @ net.head.weight.T + net.head.bias


def mlp(classes: int, *, norm: bool = False) -> nn.Sequential:
    """A DEPTH-layer rectifier net on 64 pixels, without biases, in double precision."""
    torch.manual_seed(7)
    widths = [64, *[WIDTH] * (DEPTH - 1), classes]
    stages: list[nn.Module] = []
    for k in range(DEPTH):
        linear = nn.Linear(widths[k], widths[k + 1], bias=False)
        nn.init.kaiming_normal_(linear.weight)
        last = k == DEPTH - 1
        # the theorem is exact for a BN without its ε
        bn = [nn.BatchNorm1d(widths[k + 1], eps=1e-30)] if norm and not last else []
        stages += [linear, *bn, *([] if last else [nn.ReLU()])]
    return nn.Sequential(*stages).double()


def scale_weights(model: nn.Module, alphas: Sequence[float]) -> None:
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for linear, alpha in zip(linears, alphas, strict=True):
            linear.weight.mul_(alpha)


def pairs(one: ProbeStats, other: ProbeStats) -> list[tuple[LayerStats, LayerStats]]:
    return list(zip(one.layers.values(), other.layers.values(), strict=True))


def last_layer(stats: ProbeStats) -> LayerStats:
    return list(stats.layers.values())[-1]


def lambda_max(moment: FloatArray) -> float:
    return float(np.linalg.eigvalsh(moment)[-1])


def assert_scaled(after: FloatArray, before: FloatArray, factor: float) -> None:
    np.testing.assert_allclose(after, factor * before, rtol=0, atol=1e-10 * factor * before.max())

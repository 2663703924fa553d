"""The reference itself, against closed forms and against loops over single rows."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from .cases import CASES, Case, labelled
from .convolutions import CONVOLUTIONS, ConvNet
from .plain_rows import groups_of, input_rows, output_rows, split_groups, weight_matrices
from .reference import gather, measure

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even")
EXACT = {"rtol": 1e-12, "atol": 1e-12}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_patch_rows_times_the_weight_matrix_are_the_output_rows(name: str) -> None:
    make, shape = CONVOLUTIONS[name]
    module = make().double()
    x = torch.randn(2, *shape, dtype=torch.float64)
    h = module(x)
    rows = split_groups(module, input_rows(module, x, h, conv="patches"))
    mapped = torch.cat(list(rows @ weight_matrices(module, module.weight).mT), dim=1)
    bias = 0 if module.bias is None else module.bias
    torch.testing.assert_close(mapped + bias, output_rows(module, h, x), **EXACT)


@pytest.mark.parametrize("kernel", [(3, 3), (2, 3)])
def test_patch_rows_have_the_order_of_torchs_unfold(kernel: tuple[int, int]) -> None:
    conv = nn.Conv2d(3, 2, kernel, stride=(2, 1), padding=1, dilation=(1, 2)).double()
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    rows = input_rows(conv, x, conv(x), conv="patches")
    unfolded = functional.unfold(x, kernel, dilation=(1, 2), padding=1, stride=(2, 1))
    torch.testing.assert_close(rows, unfolded.permute(2, 0, 1).flatten(0, 1), rtol=0, atol=0)


def test_the_moments_of_a_linear_regression_give_its_hessian_and_its_fisher_matrix() -> None:
    """The loss is the mean of (Wx - y)² over c outputs: H = 2/c I ⊗ E[x xᵀ], δ = 2/c (Wx - y)."""
    model = nn.Linear(4, 3, bias=False).double()
    x, y = torch.randn(7, 4, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    layer = measure(model, [(x, y)], loss="mse")["weight"]

    def mean_loss(weight: Tensor) -> Tensor:
        return functional.mse_loss(x @ weight.T, y)

    weight = model.weight.detach()
    hessian = torch.autograd.functional.hessian(mean_loss, weight).reshape(12, 12)
    identity = 2 / 3 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(torch.kron(identity, layer.input_moment), hessian, **EXACT)
    delta = 2 / 3 * (x @ weight.T - y)
    torch.testing.assert_close(layer.grad_moment, delta.T @ delta / 7, **EXACT)
    example_grads = torch.einsum("no,ni->noi", delta, x).flatten(1)
    fisher = example_grads.T @ example_grads / 7
    assert layer.weight_grad_moment_lambda_max == pytest.approx(
        float(torch.linalg.eigvalsh(fisher)[-1]), rel=1e-12
    )


def test_the_delta_of_a_softmax_head_is_prediction_minus_label() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0, 2])
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    measured = measure(model, batches)
    delta = model(x).softmax(1) - functional.one_hot(y, 3)
    torch.testing.assert_close(measured["2"].grad_mean, delta.mean(0), **EXACT)
    torch.testing.assert_close(measured["2"].grad_moment, delta.T @ delta / 6, **EXACT)
    hidden = delta @ model[2].weight * (1 - torch.tanh(model[0](x)) ** 2)
    torch.testing.assert_close(measured["0"].grad_moment, hidden.T @ hidden / 6, **EXACT)
    gathered = gather(model, batches)
    mean_loss = float(functional.cross_entropy(model(x), y).detach())
    assert gathered.loss / gathered.loss_terms == pytest.approx(mean_loss, rel=1e-12)


def test_moments_are_means_of_outer_products_of_single_rows() -> None:
    name = "conv2d grouped"
    case = CASES[name]
    ((x, y),) = case.batches()
    model = case.model().double()
    layer = measure(model, [(x, y)], conv="patches")["conv"]
    maps = torch.tanh(model.stem(x.double())).detach()
    total = torch.zeros(2, 18, 18, dtype=torch.float64)
    padded = functional.pad(maps, (1, 1, 1, 1))
    for image in padded:
        for i in range(4):
            for j in range(4):
                for group in range(2):
                    patch = image[2 * group : 2 * group + 2, i : i + 3, j : j + 3].flatten()
                    total[group] += torch.outer(patch, patch)
    torch.testing.assert_close(layer.input_moment, total / (5 * 16), **EXACT)


@pytest.mark.parametrize("conv", ["channels", "patches"])
def test_a_grouped_convolution_is_its_separate_convolutions(conv: str) -> None:
    whole = nn.Conv2d(4, 6, 3, groups=2, padding=1)
    parts = []
    for weight, bias in zip(whole.weight.chunk(2), whole.bias.chunk(2), strict=True):
        part = nn.Conv2d(2, 3, 3, padding=1)
        part.weight.data, part.bias.data = weight.detach().clone(), bias.detach().clone()
        parts.append(part)
    split = SplitConvNet(ConvNet(whole, 4, 4, 4), parts)
    batches = labelled(4, 4, 4)()
    together = measure(split.net, batches, conv=conv)["conv"]
    apart = measure(split, batches, conv=conv)
    for group in range(2):
        alone = apart[f"parts.{group}"]
        torch.testing.assert_close(together.input_moment[group], alone.input_moment, **EXACT)
        torch.testing.assert_close(together.grad_moment[group], alone.grad_moment, **EXACT)


class SplitConvNet(nn.Module):
    """A ConvNet whose grouped convolution is done by one convolution a group."""

    def __init__(self, net: ConvNet, parts: list[nn.Module]) -> None:
        super().__init__()
        self.net = net
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.tanh(self.net.stem(x))
        chunks = maps.chunk(len(self.parts), dim=1)
        h = torch.cat([part(chunk) for part, chunk in zip(self.parts, chunks, strict=True)], 1)
        return self.net.head(torch.tanh(h).flatten(1))


# An embedding tied to a linear layer adds to its gradient without being one of its rows.
@pytest.mark.parametrize("name", [name for name in CASES if "tied to the embedding" not in name])
def test_the_weight_gradient_is_the_sum_of_delta_x_over_the_rows(name: str) -> None:
    case = CASES[name]
    model = case.plain(case.model())
    gathered = gather(model, case.batches(), loss=case.loss, norm=case.norm, conv="patches")
    for layer in gathered.layers.values():
        delta = split_groups(layer.module, torch.cat(layer.delta))
        products = delta.mT @ split_groups(layer.module, torch.cat(layer.x))
        torch.testing.assert_close(products, torch.stack(layer.weight_grads).sum(0), **EXACT)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.twin])
def test_a_plain_twin_computes_what_the_model_computes(name: str) -> None:
    case = CASES[name]
    model = case.model()
    twin = case.plain(model)
    ((x, _),) = case.batches()
    outputs = [deepcopy(net).double().eval()(x.double()) for net in (model, twin)]
    torch.testing.assert_close(outputs[0], outputs[1], **EXACT)


@pytest.mark.parametrize("name", ["mlp", "conv2d grouped", "linear on tokens", "mlp, mse"])
def test_example_gradients_are_those_of_single_examples_and_average_to_the_gradient(
    name: str,
) -> None:
    case = CASES[name]
    ((x, y),) = case.batches()
    layers = measure(case.model(), [(x, y)])
    singles = [measure(case.model(), [(x[n : n + 1], y[n : n + 1])]) for n in range(len(x))]
    for layer_name, layer in layers.items():
        mean_square = sum(one[layer_name].weight_grad_norm ** 2 for one in singles) / len(x)
        assert layer.weight_grad_norm**2 <= layer.weight_grad_moment_lambda_max * (1 + 1e-12)
        assert layer.weight_grad_moment_lambda_max <= mean_square * (1 + 1e-12)


def test_batch_statistics_leave_the_loss_blind_to_a_shift_before_the_normalisation() -> None:
    case = Case(
        build=lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)),
        batches=labelled(6, sizes=(5, 4)),
    )
    model = case.model()
    rms = measure(model, case.batches())["0"].grad_moment.trace().sqrt()
    assert measure(model, case.batches())["0"].grad_mean.norm() < 1e-12 * rms
    running = measure(model, case.batches(), norm="running")["0"]
    assert running.grad_mean.norm() > 1e-3 * running.grad_moment.trace().sqrt()


def test_groups_are_one_for_every_ungrouped_map() -> None:
    assert groups_of(nn.Linear(2, 2)) == 1
    assert groups_of(nn.Conv1d(4, 4, 1, groups=4)) == 4

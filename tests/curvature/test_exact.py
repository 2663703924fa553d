"""The exact blocks against dense float64 autograd, curvlinops and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli.analysis.exact import WHOLE, ExactRow
from condcli.curvature.api import Exact
from condcli.errors import CannotFinishError, InputError, UsageError
from tests.oracle.networks import CLASSES, cnn, inputs, labels, mlp, weights

from .reference import gauss_newton, gradients_moment

TARGETS: dict[str, Callable[[], Tensor]] = {
    "cross-entropy": labels,
    "mse": lambda: torch.randn(
        7, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ),
    "bce": lambda: torch.rand(
        7, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).round(),
}


def normalized() -> nn.Sequential:
    torch.manual_seed(8)
    return nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Linear(6, CLASSES)
    ).double()


def grouped() -> nn.Sequential:
    torch.manual_seed(9)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2, padding=1, stride=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(24, CLASSES),
    ).double()


NETWORKS = {"mlp": mlp, "cnn": cnn, "batch normalisation": normalized, "groups": grouped}


def x_of(model: nn.Module) -> Tensor:
    return inputs(model)  # type: ignore[arg-type]


def by_layer(found: Exact) -> dict[str, ExactRow]:
    return {row.layer: row for row in found.rows}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("loss", TARGETS)
def test_the_fisher_matrix_is_that_of_dense_autograd(name: str, loss: str) -> None:
    model = NETWORKS[name]()
    x, y = x_of(model), TARGETS[loss]()
    rows = by_layer(condcli.exact(model, (x, y), loss=loss, percent=[1, 50]))
    matrices = weights(model) if name != "batch normalisation" else linear(model)
    for layer, weight in matrices.items():
        truth = gauss_newton(model, [weight], x, y, loss)
        require_same(rows[layer], truth)
    whole = gauss_newton(model, list(matrices.values()), x, y, loss)
    require_same(rows[WHOLE], whole)
    require_shares(rows, whole, matrices)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_second_moment_of_sample_gradients_is_that_of_dense_autograd(name: str) -> None:
    model = NETWORKS[name]()
    x, y = x_of(model), labels()
    found = condcli.exact(model, (x, y), matrix="sample-gradients", percent=[1])
    rows, matrices = by_layer(found), linear(model)
    for layer, weight in matrices.items():
        require_same(rows[layer], gradients_moment(model, [weight], x, y))
    whole = gradients_moment(model, list(matrices.values()), x, y)
    require_same(rows[WHOLE], whole)
    require_shares(rows, whole, matrices)
    truth = 1 - sum(rows[layer].share or 0 for layer in matrices)
    assert found.off_diagonal_share == pytest.approx(truth, rel=1e-10)
    assert found.tied == (name == "batch normalisation")


@pytest.mark.parametrize("name", ["mlp", "cnn", "groups"])
def test_the_approximation_is_what_probe_measures(name: str) -> None:
    model = NETWORKS[name]()
    x, y = x_of(model), labels()
    found = condcli.exact(model, (x, y), matrix="sample-gradients", percent=[1, 30])
    rows, matrices = by_layer(found), weights(model)
    layers = condcli.probe(model, (x, y), conv="patches", dtype="float64").layers
    blocks, approximations = [], []
    for layer, weight in matrices.items():
        truth = gradients_moment(model, [weight], x, y)
        stats = layers[layer]
        approximation = stats.positions * kron(stats.grad_moment, stats.input_moment)
        require_compared(rows[layer], truth, approximation)
        blocks.append(truth)
        approximations.append(approximation)
    whole = gradients_moment(model, list(matrices.values()), x, y)
    require_compared(rows[WHOLE], whole, block_diagonal(approximations))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")
@pytest.mark.parametrize("network", [mlp, cnn])
@pytest.mark.parametrize("loss", TARGETS)
def test_blocks_and_approximation_agree_with_curvlinops(
    network: Callable[[], nn.Sequential], loss: str
) -> None:
    curvlinops = pytest.importorskip("curvlinops")
    model = network()
    x, y = x_of(model), TARGETS[loss]()
    rows = by_layer(condcli.exact(model, (x, y), loss=loss, matrix="ggn", percent=[1]))
    make_loss = {
        "cross-entropy": nn.CrossEntropyLoss,
        "mse": nn.MSELoss,
        "bce": nn.BCEWithLogitsLoss,
    }[loss]
    for layer, weight in weights(model).items():
        size = weight.numel()
        block = dense(curvlinops.GGNLinearOperator(model, make_loss(), [weight], [(x, y)]), size)
        require_same(rows[layer], block)
        kfac = curvlinops.KFACLinearOperator(
            model, make_loss(), [weight], [(x, y)], fisher_type="type-2"
        )
        require_compared(rows[layer], block, dense(kfac, size))


def test_of_a_linear_network_with_squared_error_the_approximation_is_exact() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 6, bias=False), nn.Linear(6, 3)).double()
    x, y = torch.randn(40, 5).double(), torch.randn(40, 3).double()
    for row in condcli.exact(model, (x, y), percent=[100]).rows[:-1]:
        assert row.error == pytest.approx(0, abs=1e-7)  # the root of rounding
        assert row.cosine == pytest.approx(1, abs=1e-12)
        assert row.lambda_max == pytest.approx(row.lambda_max_kronecker, rel=1e-10)


def test_many_drawn_labels_come_near_the_exact_matrix() -> None:
    data = (x_of(mlp()), TARGETS["mse"]())
    exact = condcli.exact(mlp(), data, loss="mse")
    drawn = condcli.exact(mlp(), data, loss="mse", mc_samples=400)
    assert drawn.columns == 7 * 400
    for row, truth in zip(drawn.rows, exact.rows, strict=True):
        assert row.lambda_max == pytest.approx(truth.lambda_max, rel=0.15)
        assert row.lambda_max_kronecker == pytest.approx(truth.lambda_max_kronecker, rel=0.15)


def test_drawn_labels_are_the_same_for_the_same_seed() -> None:
    x, y = x_of(mlp()), labels()
    first, again, other = (
        condcli.exact(mlp(), (x, y), mc_samples=2, seed=seed).rows[-1] for seed in (1, 1, 2)
    )
    assert first == again
    assert first.lambda_max != other.lambda_max


def test_how_examples_fall_into_batches_does_not_matter() -> None:
    model, y = cnn(), labels()
    x = x_of(model)
    whole, parts = (condcli.exact(model, (x, y), batch_size=size, percent=[1]) for size in (7, 3))
    for row, other in zip(whole.rows, parts.rows, strict=True):
        assert row.lambda_max == pytest.approx(other.lambda_max, rel=1e-12)
        assert row.error == pytest.approx(other.error, rel=1e-8)
        assert row.share == pytest.approx(other.share, rel=1e-12)


def test_tokens_an_embedding_and_a_head_are_measured_together() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(6, 3), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 6)).double()
    tokens = torch.randint(0, 6, (5, 4))
    rows = by_layer(condcli.exact(model, (tokens, tokens.roll(1, 1)), percent=[1]))

    def as_rows(model: nn.Module) -> nn.Module:
        return nn.Sequential(model, nn.Flatten(0, 1))

    for layer, weight in weights(model).items():
        flat = as_rows(model)
        jacobian_rows = flat(tokens)
        truth = np.zeros((weight.numel(),) * 2)
        for scores in jacobian_rows:
            j = torch.stack(
                [torch.autograd.grad(s, weight, retain_graph=True)[0].flatten() for s in scores]
            ).numpy()
            p = scores.detach().softmax(0).numpy()
            truth += j.T @ (np.diag(p) - np.outer(p, p)) @ j / len(jacobian_rows)
        require_same(rows[layer], truth)


def test_the_model_is_left_as_it_was() -> None:
    model = normalized()
    model[0].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x, y = x_of(model), labels()
    torch.manual_seed(4)
    condcli.exact(model, (x, y))
    drawn = torch.rand(3)
    torch.manual_seed(4)
    assert torch.equal(drawn, torch.rand(3))
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not model[0].weight.requires_grad
    assert model.training


def test_a_layer_without_gradient_is_left_out_and_none_at_all_is_an_error() -> None:
    class Idle(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.used, self.idle, self.scale = nn.Linear(5, 3), nn.Linear(5, 3), scale

        def forward(self, x: Tensor) -> Tensor:
            self.idle(x)
            out: Tensor = self.used(x) if self.scale else x[:, :3].clone().requires_grad_()
            return out

    x, y = torch.randn(6, 5), torch.arange(6) % 3
    assert [row.layer for row in condcli.exact(Idle(1.0), (x, y)).rows] == ["used", WHOLE]
    with pytest.raises(InputError, match="no gradient reaches any layer"):
        condcli.exact(Idle(0.0), (x, y))


def test_a_dead_network_has_no_ratio_and_no_error() -> None:
    model = mlp()
    with torch.no_grad():
        model[4].weight.zero_()
    rows = by_layer(condcli.exact(model, (x_of(model), labels()), percent=[50]))
    assert rows["0"].lambda_max == 0
    assert rows["0"].error is rows["0"].cosine is rows["0"].lambda_ratio is None
    assert rows["0"].kappa["50"].least is None
    assert rows["4"].error is not None


def test_one_example_and_one_layer_are_enough() -> None:
    model = nn.Linear(5, 3)
    found = condcli.exact(model, (torch.randn(1, 5), torch.tensor([1])))
    layer, whole = found.rows
    assert layer.rank == 2
    assert layer.kappa["50"].value == np.inf
    assert layer.error == pytest.approx(0, abs=1e-7)
    assert whole.lambda_max == pytest.approx(layer.lambda_max)
    assert found.off_diagonal_share == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matrix": "hessien"}, "does not exist"),
        ({"mc_samples": 0}, "make no matrix"),
        ({"mc_samples": 3, "matrix": "ggn"}, "draws no labels"),
        ({"percent": [0]}, "out of range"),
        ({"batch_size": 0}, "batch size 0"),
        ({"layers": ["nosuch*"]}, "is no layer"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        condcli.exact(mlp(), (x_of(mlp()), labels()), **options)


def test_what_does_not_fit_is_refused_with_numbers_before_it_is_measured() -> None:
    model = nn.Linear(3000, 1000)
    x, y = torch.randn(3000, 3000), torch.arange(3000) % 1000
    with pytest.raises(CannotFinishError, match=r"3000000 columns of 3000000 weights") as error:
        condcli.exact(model, (x, y), samples=3000)
    assert "--samples" in error.value.remedy


def linear(model: nn.Module) -> dict[str, Tensor]:
    return {n: p for n, p in weights(model).items() if p.dim() > 1}  # type: ignore[arg-type]


def require_same(row: ExactRow, truth: np.ndarray) -> None:
    """Eigenvalue, κ's and size of the exact block."""
    values = np.linalg.eigvalsh(truth)[::-1]
    assert row.parameters == len(truth)
    assert row.lambda_max == pytest.approx(values[0], rel=1e-10)
    for percent, kappa in row.kappa.items():
        k = int(np.ceil(float(percent) / 100 * len(values)))
        if kappa.value is not None and np.isfinite(kappa.value):
            assert kappa.value == pytest.approx(values[0] / values[k - 1], rel=1e-7)
        else:
            assert abs(values[k - 1]) < 1e-11 * values[0]


def require_shares(
    rows: dict[str, ExactRow], whole: np.ndarray, matrices: dict[str, Tensor]
) -> None:
    """How the squared norm is spread over the blocks."""
    first, total, diagonal = 0, (whole**2).sum(), 0.0
    for layer, weight in matrices.items():
        last = first + weight.numel()
        own = (whole[first:last, first:last] ** 2).sum()
        assert rows[layer].share == pytest.approx(own / total, rel=1e-10)
        diagonal += own
        first = last
    assert rows[WHOLE].share == pytest.approx(diagonal / total, rel=1e-10)


def require_compared(row: ExactRow, truth: np.ndarray, approximation: np.ndarray) -> None:
    """All that is said of the two together."""
    values = np.linalg.eigvalsh(approximation)[::-1]
    assert row.lambda_max_kronecker == pytest.approx(values[0], rel=1e-10)
    norm, other = np.linalg.norm(truth), np.linalg.norm(approximation)
    error = np.linalg.norm(truth - approximation) / norm
    assert row.error == pytest.approx(error, rel=1e-8, abs=1e-7)  # the root of rounding
    assert row.cosine == pytest.approx((truth * approximation).sum() / norm / other, rel=1e-10)
    for percent, kappa in row.kappa_kronecker.items():
        k = int(np.ceil(float(percent) / 100 * len(values)))
        if kappa.value is not None and np.isfinite(kappa.value):
            assert kappa.value == pytest.approx(values[0] / values[k - 1], rel=1e-6)
        else:
            assert abs(values[k - 1]) < 1e-11 * values[0]


def kron(grads: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    if grads.ndim == 2:
        return np.kron(grads, inputs)
    return block_diagonal([np.kron(g, x) for g, x in zip(grads, inputs, strict=True)])


def block_diagonal(blocks: list[np.ndarray]) -> np.ndarray:
    from scipy.linalg import block_diag

    found: np.ndarray = block_diag(*blocks)
    return found


def dense(operator: Any, size: int) -> np.ndarray:
    found: np.ndarray = (operator @ torch.eye(size, dtype=torch.float64)).detach().numpy()
    return found

"""Products with the curvature matrices against dense autograd and curvlinops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli.analysis.stochastic import (
    estimated_moments,
    extreme_eigenvalues,
    spectral_density,
)
from condcli.curvature.operators import CurvatureOperator
from condcli.errors import InputError, UsageError
from tests.oracle.networks import cnn, labels, mlp, weights

from .reference import gauss_newton, gradients_moment
from .test_exact import NETWORKS, TARGETS, dense, linear, x_of

LOSSES = {
    "cross-entropy": nn.CrossEntropyLoss,
    "mse": nn.MSELoss,
    "bce": nn.BCEWithLogitsLoss,
}


def operator_of(model: nn.Module, y: Tensor, **options: Any) -> CurvatureOperator:
    return condcli.curvature_operator(model, (x_of(model), y), batch_size=7, **options)


def matrix_of(operator: Any) -> np.ndarray:
    found: np.ndarray = operator @ np.eye(operator.shape[0])
    return found


@pytest.mark.parametrize("name", ["mlp", "cnn", "batch normalisation"])
def test_products_are_those_of_dense_autograd(name: str) -> None:
    model, y = NETWORKS[name](), labels()
    matrices = list(linear(model).values())
    fim = matrix_of(operator_of(model, y))
    require_close(fim, gauss_newton(model, matrices, x_of(model), y, "cross-entropy"))
    moment = matrix_of(operator_of(model, y, matrix="sample-gradients"))
    require_close(moment, gradients_moment(model, matrices, x_of(model), y))
    hessian = matrix_of(operator_of(model, y, matrix="hessian"))
    require_close(hessian, dense_hessian(model, matrices, x_of(model), y))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")
@pytest.mark.parametrize(
    ("network", "loss"), [*((mlp, loss) for loss in LOSSES), (cnn, "cross-entropy")]
)
def test_products_agree_with_curvlinops(network: Any, loss: str) -> None:
    curvlinops = pytest.importorskip("curvlinops")
    model, y = network(), TARGETS[loss]()
    peers = {"ggn": "GGNLinearOperator", "hessian": "HessianLinearOperator"}
    if loss == "cross-entropy":
        peers["sample-gradients"] = "EFLinearOperator"
    for matrix, peer in peers.items():
        ours = operator_of(model, y, loss=loss, matrix=matrix)
        data = [(x_of(model), y)]
        theirs = getattr(curvlinops, peer)(
            model, LOSSES[loss](), list(weights(model).values()), data
        )
        require_close(matrix_of(ours), dense(theirs, ours.shape[0]))


def test_drawn_labels_give_the_same_matrix_as_the_columns() -> None:
    model, y = mlp(), labels()
    operator = operator_of(model, y, mc_samples=3, seed=5)
    rows = condcli.exact(model, (x_of(model), y), mc_samples=3, seed=5, batch_size=7).rows
    for row in rows[:-1]:
        largest = np.linalg.eigvalsh(matrix_of(operator.of(row.layer)))[-1]
        assert row.lambda_max == pytest.approx(largest, rel=1e-10)


def test_a_layers_own_operator_is_its_diagonal_block() -> None:
    operator = operator_of(cnn(), labels())
    whole = matrix_of(operator)
    assert list(operator.places) == ["0", "2", "5"]
    for layer, place in operator.places.items():
        require_close(matrix_of(operator.of(layer)), whole[place, place])


def test_attention_and_tied_weights_are_each_there_once() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
            self.head.weight = self.embed.weight
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embed(tokens)
            out: Tensor = self.head(x + self.attention(x, x, x)[0])
            return out

    tokens = torch.randint(0, 5, (4, 3), generator=torch.Generator().manual_seed(0))
    operator = condcli.curvature_operator(Attention(), (tokens, tokens.roll(1, 1)))
    assert sorted(operator.places) == [
        "attention.k_proj",
        "attention.out_proj",
        "attention.q_proj",
        "attention.v_proj",
        "embed",
    ]
    assert operator.shape == (84, 84)
    matrix = matrix_of(operator)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14)


def test_the_model_is_left_as_it_was() -> None:
    model = NETWORKS["batch normalisation"]().float()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    operator = operator_of(model, labels())
    operator @ np.ones(operator.shape[0])
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in model.parameters())


def test_a_frozen_part_without_gradient_gives_zeros() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.cut, self.used = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.used(self.cut(x).detach())
            return out

    for matrix in ("fim", "hessian"):
        data = (torch.randn(6, 5), torch.arange(6) % 3)
        operator = condcli.curvature_operator(Detached(), data, matrix=matrix)
        found = matrix_of(operator)
        assert not found[:20].any()
        assert found[20:].any()


def test_estimates_are_within_their_stated_errors_over_seeds() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((60, 60)) * np.logspace(0, -3, 60)
    matrix = root.T @ root
    trace, norm = np.trace(matrix), (matrix**2).sum()
    off = []
    for seed in range(200):
        found = estimated_moments(matrix, vectors=20, seed=seed)
        off.append(
            [
                abs(found.trace.value - trace) / found.trace.error,
                abs(found.squared_norm.value - norm) / found.squared_norm.error,
            ]
        )
    # Student's t with 19 degrees of freedom: 94 % lie within two standard errors
    within = (np.array(off) < 2).mean(0)
    assert (within > 0.85).all()


def test_the_density_counts_eigenvalues_as_they_are() -> None:
    values = np.concatenate([np.zeros(60), np.full(30, 1.0), np.linspace(3, 4, 10)])
    basis, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((100, 100)))
    matrix = (basis * values) @ basis.T
    found = spectral_density(matrix, vectors=40, steps=30, seed=2)
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    assert (np.diff(found.nodes) >= 0).all()
    for low, high, share in ((-0.1, 0.1, 0.6), (0.9, 1.1, 0.3), (2.9, 4.1, 0.1)):
        inside = (found.nodes > low) & (found.nodes < high)
        assert found.weights[inside].sum() == pytest.approx(share, abs=0.05)
    # each moment of the density is that of the spectrum, within the spread over random signs
    assert found.weights @ found.nodes == pytest.approx(values.mean(), abs=0.06)
    at = np.linspace(-2, 6, 2001)
    area = found.smoothed(at, 0.1).sum() * (at[1] - at[0])
    assert area == pytest.approx(1, abs=1e-6)


def test_extreme_eigenvalues_are_those_of_the_dense_matrix() -> None:
    rng = np.random.default_rng(3)
    for size in (1, 2, 10, 80):
        root = rng.standard_normal((size, size))
        matrix = root + root.T
        values = np.linalg.eigvalsh(matrix)
        count = min(3, size)
        largest = extreme_eigenvalues(matrix, count)
        np.testing.assert_allclose(largest, values[::-1][:count], rtol=1e-6)
        smallest = extreme_eigenvalues(matrix, count, end="SA")
        np.testing.assert_allclose(smallest, values[:count], rtol=0, atol=1e-4 * values[-1])
    # many zeros at the lower end, and nothing but zeros
    root = rng.standard_normal((300, 20))
    assert abs(extreme_eigenvalues(root @ root.T, end="SA")[0]) < 1e-2
    assert extreme_eigenvalues(np.zeros((30, 30)))[0] == 0
    with pytest.raises(UsageError, match="cannot be asked for"):
        extreme_eigenvalues(np.eye(3), 4)


def test_what_makes_no_sense_is_an_error() -> None:
    for options, message in (({"matrix": "h"}, "does not exist"), ({"layers": ["x"]}, "no layer")):
        with pytest.raises(UsageError, match=message):
            operator_of(mlp(), labels(), **options)
    with pytest.raises(UsageError, match="no standard error"):
        estimated_moments(np.eye(2), vectors=1)
    with pytest.raises(UsageError, match="one vector"):
        spectral_density(np.eye(2), steps=0)
    with pytest.raises(InputError, match="no layer's weight"):
        condcli.curvature_operator(nn.Flatten(), (torch.randn(4, 3), torch.arange(4) % 3))


def dense_hessian(model: nn.Module, matrices: list[Tensor], x: Tensor, y: Tensor) -> np.ndarray:
    loss = nn.functional.cross_entropy(model(x), y)
    grads = torch.autograd.grad(loss, matrices, create_graph=True)
    flat = torch.cat([g.flatten() for g in grads])
    rows = [
        torch.cat([h.flatten() for h in torch.autograd.grad(value, matrices, retain_graph=True)])
        for value in flat
    ]
    return torch.stack(rows).numpy()


def require_close(measured: np.ndarray, truth: np.ndarray) -> None:
    np.testing.assert_allclose(measured, truth, rtol=0, atol=1e-10 * abs(truth).max())

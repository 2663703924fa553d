"""B, the curvature of the loss in the outputs: its columns, its product, and drawn labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import hessian

from condcli.capture.fisher import FISHERS, OutputCurvature, columns_each, output_curvature
from condcli.capture.losses import Loss, find_loss
from condcli.errors import UsageError

CPU = torch.device("cpu")
generator = torch.Generator().manual_seed(0)
SCORES = {
    "cross-entropy": torch.randn(3, 4, dtype=torch.float64, generator=generator),
    "tokens": torch.randn(3, 5, 4, dtype=torch.float64, generator=generator),
    "next-token": torch.randn(3, 5, 4, dtype=torch.float64, generator=generator),
    "mse": torch.randn(3, 2, 2, dtype=torch.float64, generator=generator),
    "bce": torch.randn(3, 4, dtype=torch.float64, generator=generator),
}
TARGETS = {
    "cross-entropy": torch.tensor([0, 3, 1]),
    "tokens": torch.tensor([[0, 1, 2, 3, 0], [-100, 3, 1, 0, 2], [1, -100, -100, 2, 2]]),
    "next-token": torch.tensor([[0, 1, 2, 3, 0], [-100, 3, 1, 0, 2], [1, -100, -100, 2, 2]]),
    "mse": torch.randn(3, 2, 2, dtype=torch.float64, generator=generator),
    "bce": torch.rand(3, 4, dtype=torch.float64, generator=generator).round(),
}


def loss_of(case: str) -> Loss:
    return find_loss(case.replace("tokens", "cross-entropy"), device=CPU, tokens=case == "tokens")


def curvature(case: str, fisher: str, **options: int) -> OutputCurvature:
    output = SCORES[case].clone().requires_grad_()
    loss = loss_of(case)
    return output_curvature(loss, output, loss.of(output, TARGETS[case], ""), fisher, **options)


def dense(found: OutputCurvature) -> Tensor:
    """Σ over columns of s sᵀ, (N, C, C)."""
    columns = torch.stack([found.column(i).flatten(1) for i in range(found.count)])
    return torch.einsum("cni,cnj->nij", columns, columns)


@pytest.mark.parametrize("case", SCORES)
def test_the_exact_columns_make_the_hessian_of_the_loss(case: str) -> None:
    loss, output = loss_of(case), SCORES[case]
    whole = hessian(lambda f: loss.of(f, TARGETS[case], "").loss, output)
    found = curvature(case, "exact")
    u = torch.randn(found.scores.shape, dtype=torch.float64)
    # The scores may be the outputs with axes moved, or without the last token.
    moved = {
        "tokens": lambda t: t.movedim(2, 1),
        "next-token": lambda t: t[:, :-1].movedim(2, 1),
    }.get(case, lambda t: t)
    places = moved(torch.arange(output.numel()).reshape(output.shape)).flatten(1)
    matrix = whole.reshape(output.numel(), output.numel())
    blocks = torch.stack([matrix[rows][:, rows] for rows in places])
    torch.testing.assert_close(dense(found), blocks, rtol=1e-12, atol=1e-14)
    product = torch.einsum("nij,nj->ni", blocks, u.flatten(1))
    torch.testing.assert_close(found.product(u).flatten(1), product, rtol=1e-12, atol=1e-14)
    assert found.count == columns_each("exact", found.scores[0].numel(), 1)


@pytest.mark.parametrize("case", SCORES)
def test_drawn_labels_have_the_exact_curvature_for_their_mean(case: str) -> None:
    count = 1500
    found, exact = curvature(case, "mc", samples=count), dense(curvature(case, "exact"))
    columns = torch.stack([found.column(i).flatten(1) for i in range(count)]) * count**0.5
    each = torch.einsum("cni,cnj->cnij", columns, columns)
    error = each.std(0) / count**0.5
    assert bool(((each.mean(0) - exact).abs() <= 5 * error + 0.02 * exact.abs().max()).all())
    u = torch.randn(found.scores.shape, dtype=torch.float64)
    product = torch.einsum("nij,nj->ni", dense(found), u.flatten(1))
    torch.testing.assert_close(found.product(u).flatten(1), product, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", SCORES)
def test_the_empirical_column_is_the_gradient(case: str) -> None:
    output = SCORES[case].clone().requires_grad_()
    result = loss_of(case).of(output, TARGETS[case], "")
    found = output_curvature(loss_of(case), output, result, "empirical")
    assert found.count == 1
    found.scores.backward(found.column(0), retain_graph=True)
    (truth,) = torch.autograd.grad(result.loss, output)
    torch.testing.assert_close(output.grad, truth)


def test_a_loss_of_ones_own_has_no_labels_to_draw() -> None:
    output = SCORES["mse"].clone().requires_grad_()
    own = Loss(name="own.py:loss", of=loss_of("mse").of)
    result = own.of(output, TARGETS["mse"], "")
    for fisher in ("exact", "mc"):
        with pytest.raises(UsageError, match="its labels have no distribution"):
            output_curvature(own, output, result, fisher)
    assert output_curvature(own, output, result, "empirical").count == 1
    assert set(FISHERS) == {"exact", "mc", "empirical"}

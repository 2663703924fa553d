"""The paper's small MLPs (Figures 1, A1-A4): exact spectra against dense float64 Jacobians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli.analysis.exact import WHOLE
from condcli.models import ZOO

from .reference import jacobian, output_hessian

EXAMPLES = 5
PERCENT = (0.1, 3.0)
DENSE = 3000  # so many weights have their P × P matrix written out


@pytest.mark.parametrize("norm", ["none", "bn"])
@pytest.mark.parametrize(
    ("depth", "width", "inputs"), [(8, 24, 784), (4, 24, 784), (4, 36, 784), (4, 24, 16)]
)
def test_eigenvalues_of_all_blocks_and_of_the_whole(
    depth: int, width: int, inputs: int, norm: str
) -> None:
    torch.manual_seed(0)
    model = ZOO["mlp"](depth=depth, width=width, inputs=inputs, norm=norm).double()
    x, y = torch.randn(EXAMPLES, inputs).double(), torch.arange(EXAMPLES) % 10
    rows = {row.layer: row for row in condcli.exact(model, (x, y), percent=PERCENT).rows}
    weights = {f"fc{k}": model.get_parameter(f"fc{k}.weight") for k in range(1, depth + 1)}
    columns = fisher_columns(model, list(weights.values()), x, y)
    parts = columns.split([weight.numel() for weight in weights.values()], dim=1)
    for name, part in {**dict(zip(weights, parts, strict=True)), WHOLE: columns}.items():
        truth = eigenvalues(part)
        assert rows[name].parameters == part.shape[1]
        assert rows[name].lambda_max == pytest.approx(truth[0], rel=1e-10)
        for percent in PERCENT:
            place = math.ceil(percent / 100 * part.shape[1])
            # Rounding is relative to the largest.
            if place <= len(truth) and truth[place - 1] > 1e-8 * truth[0]:
                kappa = rows[name].kappa[f"{percent:g}"].value
                assert kappa == pytest.approx(truth[0] / truth[place - 1], rel=1e-6)


def fisher_columns(model: nn.Module, weights: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Aᵀ, (N·C, P), of F = A Aᵀ: the roots of the examples' B_n times their Jacobians."""
    parts = []
    for own, scores, label in zip(jacobian(model, weights, x), model(x).detach(), y, strict=True):
        values, vectors = torch.linalg.eigh(output_hessian("cross-entropy", scores, label))
        parts.append((values.clamp(min=0).sqrt() * vectors).T @ own)
    return torch.cat(parts) / math.sqrt(len(x))


def eigenvalues(columns: Tensor) -> np.ndarray:
    """Of A Aᵀ, descending: of the matrix itself where it is small enough, else by A's SVD."""
    if columns.shape[1] <= DENSE:
        return np.linalg.eigvalsh((columns.T @ columns).numpy())[::-1]
    return np.linalg.svd(columns.numpy(), compute_uv=False) ** 2

"""λ_max of per-example gradients, by the Gram matrix itself and by products with its factors."""

from __future__ import annotations

import pytest
import torch

from condcli.capture.largest import gram_pays
from condcli.capture.per_example import GradientFactors


@pytest.mark.parametrize(("examples", "gram"), [(1, True), (30, True), (200, False)])
@pytest.mark.parametrize("scale", [1.0, 1e-25])
def test_both_ways_are_those_of_the_gradients(examples: int, gram: bool, scale: float) -> None:
    source = torch.Generator().manual_seed(examples)
    x = torch.randn(examples, 7, generator=source, dtype=torch.float64).relu()
    delta = scale * torch.randn(examples, 9, generator=source, dtype=torch.float64)
    gradients = torch.einsum("ni,nj->nij", delta, x).flatten(1) / scale
    largest = float(torch.linalg.eigvalsh(gradients.T @ gradients / examples)[-1]) * scale**2
    assert gram_pays(examples, 7, 9) == gram
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        factors = GradientFactors()
        for piece in range(0, examples, 13):
            rows = slice(piece, piece + 13)
            factors.add(x[rows].to(dtype), delta[rows].to(dtype))
        assert factors.lambda_max() == pytest.approx(largest, rel=tolerance, abs=0)

"""float32 products of tiny or huge rows neither vanish nor overflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from condcli.api import probe

from .reference import measure


class Scaled(nn.Module):
    """The input times a scale, and the output divided by it (or not)."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5, bias=False)
        self.head = nn.Linear(5, 3, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x * self.scale) / self.scale)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_moments_at_any_scale_are_those_of_the_rows(scale: float) -> None:
    """Σ_x of the first layer goes with scale², its Σ_∇h with 1/scale²: 1e50 is beyond float32."""
    torch.manual_seed(0)
    model, batches = Scaled(scale), [(torch.randn(7, 6), torch.arange(7) % 3)]
    truth = measure(model, batches)["first"]
    layer = probe(model, batches, per_example="all").layers["first"]
    for name in ("input_moment", "grad_moment", "input_mean", "grad_mean"):
        expected = np.asarray(getattr(truth, name))
        np.testing.assert_allclose(
            getattr(layer, name), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
        )
    assert layer.weight_grad_moment_lambda_max == pytest.approx(
        truth.weight_grad_moment_lambda_max, rel=1e-4
    )

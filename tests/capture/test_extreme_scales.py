"""float32 products of tiny or huge rows neither vanish nor overflow."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from condcli.api import probe
from condcli.errors import InputError

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


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("fc2", float("nan"), "fc2: its weights"),
        ("fc1", 1e38, "fc2: its inputs"),
        ("fc3", 1e38, "fc2: its gradients"),
    ],
)
def test_numbers_that_are_not_finite_name_where_they_came_up(
    name: str, scale: float, message: str
) -> None:
    torch.manual_seed(0)
    layers = {f"fc{i}": nn.Linear(6, 6, bias=False) for i in (1, 2, 3)}
    layers["fc2"].weight.data *= 1e6 if name == "fc3" else 1
    layers[name].weight.data *= scale
    x = torch.randn(7, 6) * (1e-38 if name == "fc3" else 100)
    with pytest.raises(InputError, match=message):
        probe(nn.Sequential(OrderedDict(layers)), (x, torch.randn(7, 6)), dtype="float32")

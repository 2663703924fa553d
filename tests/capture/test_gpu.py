"""On CUDA, the same numbers as on the CPU, and nothing left behind there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from condcli.api import probe

from .cases import CLASSES, labelled
from .resuming import assert_identical, resumed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, stride=2, groups=3),
        nn.Tanh(),
        nn.ConvTranspose2d(6, 4, 2, stride=2),
        nn.Flatten(),
        nn.Linear(4 * 6 * 6, 5),
    )


@pytest.mark.parametrize("conv", ["channels", "patches"])
def test_cuda_and_cpu_agree(conv: str) -> None:
    data = (torch.randn(37, 2, 8, 8), torch.arange(37) % 5)
    options = {"conv": conv, "dtype": "float64", "per_example": "all", "batch_size": 16}
    here = probe(network(), data, device="cpu", **options)
    there = probe(network(), data, device="cuda", **options)
    assert there.provenance.device == "cuda"
    for name, expected in here.layers.items():
        layer = there.layers[name]
        for matrix in ("input_moment", "grad_moment", "weight_grad_singular_values"):
            np.testing.assert_allclose(
                getattr(layer, matrix), getattr(expected, matrix), rtol=1e-9, atol=1e-14
            )
        assert layer.weight_grad_moment_lambda_max == pytest.approx(
            expected.weight_grad_moment_lambda_max, rel=1e-9
        )
    for name, count in here.activations.items():
        assert (there.activations[name].active_count == count.active_count).all()


def test_float32_on_cuda_is_not_tf32() -> None:
    data = (torch.randn(256, 64) + 1, torch.arange(256) % 5)
    layer = probe(nn.Sequential(nn.Linear(64, 5)), data, device="cuda").layers["0"]
    rows = data[0].double().numpy()
    exact = rows.T @ rows / len(rows)
    assert np.linalg.norm(layer.input_moment - exact) < 1e-6 * np.linalg.norm(exact)


def test_the_model_is_back_on_the_cpu() -> None:
    model = network()
    probe(model, (torch.randn(4, 2, 8, 8), torch.arange(4) % 5), device="cuda")
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert {b.device.type for b in model.buffers()} == {"cpu"}


def test_a_probe_on_cuda_can_be_resumed(tmp_path: Path) -> None:
    def model() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(6, 300), nn.BatchNorm1d(300), nn.ReLU(), nn.Linear(300, CLASSES)
        )

    data = labelled(6, sizes=(8, 8, 8, 8))
    whole = probe(model(), data(), device="cuda")
    assert_identical(resumed(model, data, tmp_path / "s", after=2, device="cuda"), whole)

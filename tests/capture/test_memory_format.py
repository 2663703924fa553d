"""Networks with convolutions run channels-last where they can, and nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli.capture import Options, rehearse
from condcli.capture.rehearsal import Rehearsal

from .test_activations import Net
from .test_side_effects import assert_same, state

CHANNELS_LAST = torch.channels_last


class Rows(nn.Module):
    """Takes the rows of its maps by a function that is given."""

    def __init__(self, rows: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 25, 3)
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(torch.relu(self.bn(self.conv(x)))))


class Flat(torch.autograd.Function):
    """A kernel of someone's own whose backward pass takes its gradient as one row of numbers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return (grad.view(-1) * 2).view(grad.shape)


def viewed(x: Tensor) -> Tensor:
    return x.view(len(x), -1)


def flattened(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1)


def network(rows: Callable[[Tensor], Tensor]) -> Rows:
    torch.manual_seed(0)
    return Rows(rows)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3


def rehearsed(model: nn.Module, x: Tensor, *, dtype: torch.dtype = torch.float32) -> Rehearsal:
    options = Options(
        conv="channels",
        norm="batch",
        per_example="auto",
        dtype=dtype,
        device=torch.device("cpu"),
        seed=0,
        layers=(),
        exclude=(),
    )
    return rehearse(model, x, options, source="data")


def test_a_convolutional_network_runs_channels_last_in_float32(
    data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def rows(x: Tensor) -> Tensor:
        seen.append(x)
        return flattened(x)

    model = network(rows)
    assert rehearsed(model, data[0]).channels_last
    assert not rehearsed(model, data[0], dtype=torch.float64).channels_last
    assert not rehearsed(nn.Linear(5, 3), data[0]).channels_last
    condcli.probe(model, data)
    assert seen[-1].is_contiguous(memory_format=CHANNELS_LAST)
    assert not seen[-1].is_contiguous()


def test_a_network_that_views_its_maps_as_rows_runs_as_it_is(data: tuple[Tensor, Tensor]) -> None:
    assert not rehearsed(network(viewed), data[0]).channels_last
    found, expected = (condcli.probe(network(rows), data) for rows in (viewed, flattened))
    assert_alike(found, expected, tolerance=1e-5)


def test_a_network_that_reads_its_maps_as_they_lie_in_memory_runs_as_it_is(
    data: tuple[Tensor, Tensor],
) -> None:
    """Nothing fails, but other numbers come out."""

    def as_they_lie(x: Tensor) -> Tensor:
        return x.as_strided((len(x), 100), (100, 1))

    assert not rehearsed(network(as_they_lie), data[0]).channels_last
    found, expected = (condcli.probe(network(rows), data) for rows in (as_they_lie, flattened))
    assert_alike(found, expected, tolerance=1e-5)


def test_a_network_whose_backward_pass_needs_the_usual_format_runs_as_it_is(
    data: tuple[Tensor, Tensor],
) -> None:
    def network_with(function: Callable[[Tensor], Tensor]) -> Net:
        torch.manual_seed(0)
        return Net(
            lambda self, x: self.second(function(self.first(x))).mean((2, 3)),
            first=nn.Conv2d(3, 4, 3),
            second=nn.Conv2d(4, 3, 2),
        )

    def doubled(x: Tensor) -> Tensor:
        return x * 2

    assert rehearsed(network_with(doubled), data[0]).channels_last
    assert not rehearsed(network_with(Flat.apply), data[0]).channels_last
    found, expected = (condcli.probe(network_with(f), data) for f in (Flat.apply, doubled))
    assert_alike(found, expected, tolerance=1e-5)


@pytest.mark.parametrize("norm", ["batch", "running"])
@pytest.mark.parametrize("conv", ["channels", "patches"])
def test_the_numbers_are_those_of_the_usual_format(
    data: tuple[Tensor, Tensor], norm: str, conv: str
) -> None:
    options = {"norm": norm, "conv": conv, "per_example": "all", "batch_size": 4}
    model = network(flattened)
    assert_alike(
        condcli.probe(model, data, **options),
        condcli.probe(model, data, dtype="float64", **options),
        tolerance=1e-5,
    )


@pytest.mark.parametrize(
    "model",
    [network(viewed), network(flattened), network(flattened).to(memory_format=CHANNELS_LAST)],
    ids=["views", "reshapes", "was channels-last"],
)
def test_the_model_keeps_values_and_strides(data: tuple[Tensor, Tensor], model: Rows) -> None:
    model.conv.weight.grad = torch.randn_like(model.conv.weight)
    tensors = [*model.parameters(), *model.buffers(), model.conv.weight.grad, data[0]]
    before, strides = state(model, data), [tensor.stride() for tensor in tensors]
    condcli.probe(model, data)
    assert_same(state(model, data), before)
    tensors = [*model.parameters(), *model.buffers(), model.conv.weight.grad, data[0]]
    assert [tensor.stride() for tensor in tensors] == strides


def test_a_loss_may_view_a_map_as_rows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    x, y = torch.randn(5, 3, 8, 8), torch.randn(5, 2 * 4 * 4)
    assert rehearsed(model, x).channels_last
    loss = tmp_path / "loss.py"
    loss.write_text("def of(out, y): return (out.view(len(out), -1) - y).square().sum(1)")
    found, expected = (
        condcli.probe(model, (x, y), loss=f"{loss}:of", dtype=dtype)
        for dtype in ("float32", "float64")
    )
    assert found.provenance.loss == pytest.approx(expected.provenance.loss, rel=1e-5)
    assert_alike(found, expected, tolerance=1e-5)


def assert_alike(
    found: condcli.ProbeStats, expected: condcli.ProbeStats, *, tolerance: float
) -> None:
    """Means to so much of the rows' size: after batch normalisation those of gradients are zero."""
    assert list(found.layers) == list(expected.layers)
    for name, layer in found.layers.items():
        other = expected.layers[name]
        for rows in ("input", "grad"):
            moment, truth = (getattr(one, f"{rows}_moment") for one in (layer, other))
            assert np.linalg.norm(moment - truth) <= tolerance * np.linalg.norm(truth)
            mean, truth_mean = (getattr(one, f"{rows}_mean") for one in (layer, other))
            size = np.sqrt(np.trace(truth))
            assert np.linalg.norm(mean - truth_mean) <= tolerance * size
        assert layer.weight_grad_norm == pytest.approx(other.weight_grad_norm, rel=tolerance)
    for name, count in found.activations.items():
        assert count.active_count.tolist() == expected.activations[name].active_count.tolist()

"""Every number of every layer of every case, in both convolution views, against the reference."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from condcli.api import probe
from condcli.stats import LayerStats, ProbeStats

from .cases import CASES
from .reference import Moments, gather, measure

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even")

VIEWS = ("channels", "patches")
FACTS = (
    "d_in",
    "d_out",
    "groups",
    "kernel_size",
    "rows",
    "input_rows",
    "calls",
    "positions",
    "bias",
)
DTYPES = {"float64": torch.float64, "float32": torch.float32}


@pytest.mark.parametrize("conv", VIEWS)
@pytest.mark.parametrize("name", CASES)
def test_in_float64_every_matrix_agrees_with_the_reference(name: str, conv: str) -> None:
    assert_agreement(probed(name, conv, "float64"), expected(name, conv, "float64"), rel=1e-11)


@pytest.mark.parametrize("conv", VIEWS)
@pytest.mark.parametrize("name", CASES)
def test_in_float32_every_matrix_is_the_product_of_its_float32_rows(name: str, conv: str) -> None:
    assert_agreement(probed(name, conv, "float32"), expected(name, conv, "float32"), rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_loss_and_its_terms_agree(name: str) -> None:
    case = CASES[name]
    truth = gather(case.plain(case.model()), case.batches(), loss=case.loss, norm=case.norm)
    provenance = probed(name, "channels", "float64").provenance
    assert provenance.loss_terms == truth.loss_terms
    assert provenance.examples == truth.examples
    assert provenance.loss == pytest.approx(truth.loss / truth.loss_terms, rel=1e-12)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.examples_apart])
def test_the_second_moment_of_the_example_gradients_agrees(name: str) -> None:
    case = CASES[name]
    options = {"loss": case.loss, "norm": case.norm, "dtype": "float64", "per_example": "all"}
    stats = probe(case.model(), case.batches(), **options)
    for layer_name, truth in expected(name, "channels", "float64").items():
        layer = stats.layers[layer_name]
        if layer.weight_grad_moment_lambda_max is None:
            assert not case.rows_by_example
            assert layer.weight_grad_moment_note
        else:
            assert layer.weight_grad_moment_lambda_max == pytest.approx(
                truth.weight_grad_moment_lambda_max, rel=1e-10
            )


def test_by_default_the_example_gradients_are_measured_where_an_example_has_one_row() -> None:
    layers = probed("conv2d", "channels", "float64").layers
    truth = expected("conv2d", "channels", "float64")["head"]
    assert layers["head"].weight_grad_moment_lambda_max == pytest.approx(
        truth.weight_grad_moment_lambda_max, rel=1e-10
    )
    assert layers["conv"].weight_grad_moment_lambda_max is None
    assert layers["conv"].weight_grad_moment_note


@pytest.mark.parametrize("shape", [(8, 3, 128, 128), (1, 3, 1024, 1024)])
def test_many_float32_rows_of_few_channels_lose_no_precision(shape: tuple[int, ...]) -> None:
    """One float32 product over so many rows is off by 1e-4 to 1e-6: the mean of x adds up."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.randn(shape) + 1
    y = torch.zeros(len(x), dtype=torch.int64)
    layer = probe(model, (x, y), dtype="float32").layers["0"]
    rows = x.double().movedim(1, -1).reshape(-1, 3).numpy()
    assert layer.input_rows == len(rows)
    assert relative_error(layer.input_moment, rows.T @ rows / len(rows)) < 1e-6
    assert relative_error(layer.input_mean, rows.mean(0)) < 1e-6


def assert_agreement(stats: ProbeStats, truth: Mapping[str, Moments], *, rel: float) -> None:
    assert list(stats.layers) == list(truth)
    errors: dict[str, float] = {}
    for name, layer in stats.layers.items():
        for fact in FACTS:
            assert getattr(layer, fact) == getattr(truth[name], fact), (name, fact)
        errors |= {f"{name}.{key}": error for key, error in layer_errors(layer, truth[name])}
    assert {key: error for key, error in errors.items() if not error <= rel} == {}


def layer_errors(layer: LayerStats, truth: Moments) -> list[tuple[str, float]]:
    """The relative error of each array and number of one layer.

    A mean may be zero (δ before BN; δ of a balanced softmax), so its error is taken relative to
    the root mean square of the rows.
    """
    pairs = [(key, truth_scale(truth, key)) for key in Moments.__annotations__ if key not in FACTS]
    return [
        (key, relative_error(getattr(layer, key), getattr(truth, key), scale=scale))
        for key, scale in pairs
        if key != "weight_grad_moment_lambda_max"
    ]


def truth_scale(truth: Moments, key: str) -> float | None:
    if key not in ("input_mean", "grad_mean"):
        return None
    moment: Tensor = getattr(truth, key.replace("mean", "moment"))
    diagonal = moment if moment.dim() == 1 else moment.diagonal(dim1=-2, dim2=-1)
    return float(diagonal.sum().sqrt())


def relative_error(measured: Any, truth: Any, *, scale: float | None = None) -> float:
    """The Frobenius norm of the difference over that of the truth, or over ``scale``."""
    measured, truth = np.asarray(measured), np.asarray(truth)
    assert measured.shape == truth.shape
    return float(np.linalg.norm((measured - truth).ravel()) / (scale or np.linalg.norm(truth)))


@cache
def probed(name: str, conv: str, dtype: str) -> ProbeStats:
    case = CASES[name]
    return probe(
        case.model(), case.batches(), loss=case.loss, conv=conv, norm=case.norm, dtype=dtype
    )


@cache
def expected(name: str, conv: str, dtype: str) -> dict[str, Moments]:
    case = CASES[name]
    model = case.plain(case.model())
    return measure(
        model, case.batches(), loss=case.loss, conv=conv, norm=case.norm, dtype=DTYPES[dtype]
    )

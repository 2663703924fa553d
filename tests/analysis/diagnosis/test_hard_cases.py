"""Files that have little in them, or much."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from condcli.analysis.diagnosis import Thresholds, diagnose
from condcli.stats import LayerStats
from tests.synthetic import activation, diagonal, layer, stats

CENTRED = {"input_mean": np.array([0.1, -0.1, 0.1])}


def nothing_known() -> LayerStats:
    return layer(
        input_moment=np.full((3, 3), np.nan),
        input_mean=np.full(3, np.nan),
        grad_moment=np.full((2, 2), np.nan),
        weight_singular_values=np.full(2, np.nan),
        weight_grad_singular_values=np.full(2, np.nan),
        nonfinite="weights",
    )


def zeros(**changes: Any) -> LayerStats:
    values: dict[str, Any] = {
        "input_moment": np.zeros((3, 3)),
        "input_mean": np.zeros(3),
        "grad_moment": np.zeros((2, 2)),
        "weight_singular_values": np.zeros(2),
        "weight_grad_singular_values": np.zeros(2),
    }
    return layer(**values | changes)


GROUPED = np.stack([diagonal(3.0, 1.0), diagonal(2.0, 0.5)])
CASES = {
    "no layers": (stats(), []),
    "one layer": (stats(layer(**CENTRED)), []),
    "no activations": (stats(layer("a", **CENTRED), layer("b", order=1, **CENTRED)), []),
    "activations without rows": (
        stats(layer(**CENTRED), activations=(activation(rows=0, active_count=np.zeros(4, int)),)),
        [],
    ),
    "nothing finite": (stats(nothing_known(), loss=float("nan")), ["non-finite"]),
    "only zeros": (stats(zeros()), ["zero-gradient", "zero-input"]),
    "no rows": (stats(zeros(rows=0, input_rows=0)), []),
    "a table": (
        stats(
            layer("wte", np.array([0.5, 0.5, 0.0]), input_mean=np.zeros(3), kind="embedding"),
        ),
        [],
    ),
    "groups": (
        stats(layer("conv", GROUPED, np.array([[[1e-3]], [[1e-4]]]), kind="conv2d")),
        [],
    ),
    "a regression": (stats(layer(**CENTRED), accuracy=None, chance=None, loss_name="mse"), []),
    "one feature": (stats(layer(input_moment=np.ones((1, 1)), input_mean=np.zeros(1))), []),
}


@pytest.mark.parametrize("name", CASES)
def test_every_file_can_be_diagnosed(name: str) -> None:
    whole, rules = CASES[name]
    assert [finding.rule for finding in diagnose(whole)] == rules


def test_of_a_wide_layer_the_spectrum_is_looked_at_and_not_the_features() -> None:
    """Its factor is that of a moment which would be ill-conditioned and not normalised."""
    rows = np.random.default_rng(0).standard_normal((200, 10)) * np.array([1e4] + [1.0] * 9)
    whole = layer(input_moment=rows.T @ rows / 200, input_mean=rows.mean(axis=0))
    factor = rows / 200**0.5
    wide = replace(
        whole,
        input_moment=None,
        input_factor=factor,
        input_error=0.0,
        input_trace=float((factor**2).sum()),
    )
    (usual,), (found,) = diagnose(stats(whole)), diagnose(stats(wide))
    assert usual.rule == "unnormalised-input"
    assert "κ50(Σx) is large" in usual.evidence
    assert (found.rule, found.layers) == ("ill-conditioned-input", ("fc",))


def test_a_thousand_layers_are_diagnosed_in_seconds() -> None:
    """Of which the slope takes half a million pairs, not more."""
    moment = diagonal(4.0, 2.0, 1.0)
    layers = [
        layer(f"fc{k}", moment, diagonal(1.0, 0.5) * 0.99**k, order=k, **CENTRED)
        for k in range(1000)
    ]
    start = time.process_time()
    assert diagnose(stats(*layers)) == []
    assert time.process_time() - start < 20


def test_long_names_are_cut_in_sentences_and_whole_in_the_list() -> None:
    name = "block." * 2000 + "fc"
    (found,) = diagnose(stats(layer(name, grad_moment=np.zeros((2, 2)), **CENTRED)))
    assert found.layers == (name,)
    (large,) = diagnose(stats(layer(name, input_moment=diagonal(1e4, 1e4, 1e4), **CENTRED)))
    assert len(large.evidence) < 200
    assert "block.…" in large.evidence


def test_thresholds_are_those_given() -> None:
    whole = stats(layer(input_moment=diagonal(25.0, 25.0, 25.0), **CENTRED))
    assert diagnose(whole) == []
    (found,) = diagnose(whole, Thresholds(input_size=4.0))
    assert found.rule == "unnormalised-input"

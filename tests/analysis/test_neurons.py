from __future__ import annotations

import numpy as np
import pytest

from condcli.analysis.neurons import neurons
from tests.synthetic import activation, stats


def test_dying_units_are_never_on_and_full_units_always() -> None:
    counts = np.array([0, 100, 40, 0, 1, 99, 0, 100])
    (row,) = neurons(stats(activations=(activation(units=8, active_count=counts),)))
    assert (row.units, row.rows) == (8, 100)
    assert (row.dying, row.full) == (3, 2)
    assert (row.dying_share, row.full_share) == (3 / 8, 2 / 8)
    assert row.saturated_share is None


def test_units_are_counted_by_the_share_of_rows_that_they_are_on_in() -> None:
    counts = np.array([0, 12, 13, 50, 87, 88, 100, 100])  # of 100: eighths are at 12.5, 25, …
    (row,) = neurons(stats(activations=(activation(units=8, active_count=counts),)))
    assert row.activity == (2, 1, 0, 0, 1, 0, 1, 3)


@pytest.mark.parametrize(
    "function", ["relu", "relu6", "leaky_relu", "gelu", "silu", "hardswish", "elu"]
)
def test_relu_like_functions_have_dying_and_full_units(function: str) -> None:
    (row,) = neurons(stats(activations=(activation(function=function),)))
    assert (row.dying, row.full) == (2, 1)


@pytest.mark.parametrize("function", ["softplus", "sigmoid", "tanh"])
def test_other_functions_have_none(function: str) -> None:
    (row,) = neurons(stats(activations=(activation(function=function),)))
    assert (row.dying, row.dying_share, row.full, row.full_share) == (None, None, None, None)


def test_saturation_is_a_share_of_all_units_on_all_rows() -> None:
    saturated = np.array([100, 0, 20, 0])
    (row,) = neurons(stats(activations=(activation(function="tanh", saturated_count=saturated),)))
    assert row.saturated_share == 120 / 400


def test_no_units_or_rows_give_no_shares() -> None:
    nothing = activation(units=0, rows=0, active_count=np.zeros(0, np.int64))
    (row,) = neurons(stats(activations=(nothing,)))
    assert (row.dying, row.dying_share, row.full_share) == (0, None, None)


def test_call_sites_keep_the_order_of_the_forward_pass() -> None:
    sites = tuple(activation(name) for name in ("z", "a", "m"))
    assert [row.activation for row in neurons(stats(activations=sites))] == ["z", "a", "m"]

from __future__ import annotations

import math

import numpy as np
import pytest

from condcli.analysis.eigenvalues import Spectrum
from condcli.analysis.scaling import Factors
from condcli.output.page.curves import BINS, activity, curve, curves_of, places, rounded, spread
from condcli.stats import ActivationStats
from tests.synthetic import activation, layer


@pytest.mark.parametrize(("size", "points"), [(1, 200), (7, 7), (50, 200), (201, 200), (50257, 20)])
def test_the_places_of_a_curve_are_few_and_hold_both_ends(size: int, points: int) -> None:
    found = places(size, points).tolist()
    assert len(found) == len(set(found)) <= points
    assert len(found) >= min(size, points) // 2
    assert (found[0], found[-1]) == (0, size - 1)
    steps = np.diff(found)
    assert (np.diff(steps) >= -1).all()  # the closer, the nearer to the first; rounding apart


def test_a_curve_is_the_sorted_values_at_its_places() -> None:
    values = np.random.default_rng(0).lognormal(0, 9, (4, 250))
    found = curve(values, 100)
    descending = sorted(values.ravel().tolist(), reverse=True)
    assert found["size"] == 1000
    expected = [descending[place] for place in places(1000, 100)]
    assert found["values"] == pytest.approx(expected, rel=5e-4)


def test_what_has_no_logarithm_or_no_json_is_null() -> None:
    assert curve(np.array([2.0, 0.0, math.nan]), 5)["values"] == [None, 2.0, None]
    assert [rounded(value) for value in (math.nan, math.inf, None, 0.0, 1.23456e-9)] == [
        None, None, None, 0.0, 1.235e-9,
    ]  # fmt: skip


def test_eigenvalues_under_the_noise_floor_are_not_drawn() -> None:
    one = Spectrum(
        values=np.array([[8.0, 1e-3, 1e-9]]), floor=np.array([[1e-6]]), ceiling=np.array([[3]])
    )
    found = curves_of(layer(), Factors(input=one, grad=one.scaled(100.0), scale=1.0), 200)
    assert found["input"] == {"size": 3, "values": [8.0, 1e-3, None]}
    assert found["grad"] == {"size": 3, "values": [800.0, 0.1, None]}
    assert (found["input_floor"], found["grad_floor"]) == (1e-6, 1e-4)
    assert found["weight"] == {"size": 2, "values": [2.0, 1.0]}
    assert found["weight_grad"] == {"size": 2, "values": [0.02, 0.01]}


def test_singular_values_that_are_only_rounding_are_not_drawn() -> None:
    one = Spectrum(values=np.ones((1, 3)), floor=np.zeros((1, 1)), ceiling=np.array([[3]]))
    found = curves_of(
        layer(
            weight_singular_values=np.array([1e5, 2e-5, 5e-6]),
            weight_grad_singular_values=np.array([math.nan, math.nan]),
        ),
        Factors(input=one, grad=one, scale=1.0),
        200,
    )
    assert found["weight"]["values"] == [1e5, 2e-5, None]
    assert found["weight_grad"]["values"] == [None, None]


def by_hand(item: ActivationStats) -> dict[str, object]:
    """Unit by unit; a bin holds its lower end."""
    never = always = 0
    bins = [0] * BINS
    for count in item.active_count.tolist():
        if count == 0:
            never += 1
        elif count == item.rows:
            always += 1
        else:
            bins[count * BINS // item.rows] += 1
    return {"never": never, "always": always, "bins": bins}


def test_every_unit_is_in_one_bin() -> None:
    counts = np.random.default_rng(0).integers(0, 65, 500)
    item = activation(units=500, rows=64, active_count=counts)
    found = activity(item)
    assert found == by_hand(item)
    assert found["never"] + found["always"] + sum(found["bins"]) == 500
    assert found["never"] > 0 < found["always"]


def test_an_activation_without_rows_has_only_units_that_were_never_on() -> None:
    item = activation(units=3, rows=0, active_count=np.zeros(3, dtype=np.int64))
    assert activity(item)["never"] == 3


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [(3, 9, [0, 1, 2]), (9, 3, [0, 4, 8]), (1, 1, [0]), (50, 0, [0, 49]), (5, 4, [0, 1, 3, 4])],
)
def test_some_of_many_steps_are_spread_evenly(count: int, wanted: int, expected: list[int]) -> None:
    assert spread(count, wanted) == expected

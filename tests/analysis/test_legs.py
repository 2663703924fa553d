from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from condcli.analysis.legs import Crossing, crossings, legs, smoothed


def spans(values: list[float | None], factor: float) -> list[tuple[int, int]]:
    return [(leg.start, leg.stop) for leg in legs(values, factor)]


def test_a_step_is_one_leg_between_the_two_files_around_it() -> None:
    (leg,) = legs([1.0, 1.0, 1.0, 8.0, 8.0, 8.0], 2)
    assert (leg.begun, leg.done, leg.before, leg.after) == (2, 3, 1.0, 8.0)
    assert leg.rises
    assert leg.fold == 8.0


def test_a_slow_fall_is_one_leg_whose_ends_are_left_out() -> None:
    values = [10.0 ** (-k / 10) for k in range(21)]  # two decades
    (leg,) = legs(values, 10)
    assert (leg.start, leg.stop, leg.begun, leg.done) == (0, 20, 4, 16)
    assert not leg.rises
    assert leg.fold == pytest.approx(100)


def test_what_changes_by_less_than_the_factor_is_no_leg() -> None:
    assert legs([1.0, 1.5, 1.9, 1.9, 1.0, 1.9], 2) == []


def test_a_peak_is_a_rise_and_a_fall() -> None:
    values = [1.0, 1.0, 3.0, 10.0, 10.0, 3.0, 1.0, 1.0]
    assert spans(values, 5) == [(0, 3), (3, 6)]


def test_one_odd_file_is_no_turning_point() -> None:
    assert legs([1.0, 1.0, 1.0, 1e6, 1.0, 1.0], 2) == []
    assert legs([1.0, 1.0, 1e-6, 1.0, 1.0], 2) == []


def test_the_last_file_alone_counts() -> None:
    assert spans([1.0, 1.0, 1.0, 1e6], 2) == [(0, 3)]


@pytest.mark.parametrize("seed", range(20))
def test_noise_within_the_factor_does_not_hide_or_split_a_step(seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(-0.08, 0.08, 60)  # decades: a factor of 1.44
    values = 10 ** (np.where(np.arange(60) < 30, 0.0, 1.0) + noise)
    found = legs(list(values), 2)
    assert len(found) == 1
    assert (found[0].begun, found[0].done) == (29, 30)
    assert 7 < found[0].fold < 15


def test_gaps_keep_their_places() -> None:
    gaps = [None, 1.0, float("nan"), 1.0, 0.0, 100.0, float("inf"), 100.0, None]
    (leg,) = legs(gaps, 10)
    assert (leg.begun, leg.done) == (3, 5)


@pytest.mark.parametrize("values", [[], [1.0], [None, None], [0.0, 0.0]])
def test_too_little_has_no_legs(values: list[float | None]) -> None:
    assert legs(values, 2) == []


def test_two_files_make_a_leg() -> None:
    assert spans([1.0, 3.0], 2) == [(0, 1)]


def test_the_legs_of_any_curve_alternate_and_are_as_large_as_the_factor() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = list(10 ** np.cumsum(rng.standard_normal(80) / 5))
        found = legs(values, 3)
        assert all(leg.fold >= 3 for leg in found)
        for one, other in pairwise(found):
            assert one.stop == other.start
            assert one.rises != other.rises
        for leg in found:  # all else lies between its ends
            between = smoothed(values)[leg.start : leg.stop + 1]
            assert min(between) == min(leg.before, leg.after)
            assert max(between) == max(leg.before, leg.after)


def test_a_curve_crosses_where_it_stays_and_comes_back_at_the_upper_bound() -> None:
    values = [1.0, 1.0, 0.01, 1.0, 1.0, 0.01, 0.01, 0.15, 0.01, 0.5, 0.5, 0.5]
    assert crossings(values, low=0.1, high=0.2) == [
        Crossing(place=5, below=True),
        Crossing(place=9, below=False),
    ]


def test_a_curve_can_begin_below_and_gaps_do_not_count() -> None:
    assert crossings([None, 0.0, 0.0, None, 1.0, 1.0], low=0.1, high=0.2) == [
        Crossing(place=1, below=True),
        Crossing(place=4, below=False),
    ]
    assert crossings([], low=0.1, high=0.2) == []


def test_the_smoothed_values_are_medians_but_for_the_ends() -> None:
    assert smoothed([5.0, 1.0, 9.0, 2.0, 8.0]) == [5.0, 5.0, 2.0, 8.0, 8.0]
    assert smoothed([1.0]) == [1.0]
    assert smoothed([]) == []
    assert smoothed([1.0, 2.0]) == [1.0, 2.0]

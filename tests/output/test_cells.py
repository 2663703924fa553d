from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condcli.analysis.eigenvalues import Rank
from condcli.output.cells import flat, magnitude, number, plain, text
from tests.output.rows import kappa


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.0123456, "0.0123"),
        (12.34, "12.3"),
        (1234.0, "1.23e3"),
        (1.234e-8, "1.23e-8"),
        (1e100, "1e100"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (math.nan, "NaN"),
    ],
)
def test_a_number_is_shown_with_three_digits_and_a_short_exponent(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (None, "", "–"),
        (None, "percent", "–"),
        (7, "", "7"),
        (1_000_000, "", "1000000"),
        (0.0474, "percent", "4.7 %"),
        (True, "dominated|free", "dominated"),
        (False, "dominated|free", "free"),
        ("a\x1b[31mb", "", "a\\x1b[31mb"),
        (Rank(value=9, ceiling=9, size=10), "", "9/10"),
        ((0.0, -1.2, -9.0, None), "sparkline", "█▇▁·"),
    ],
)
def test_values_are_shown_by_type_and_format(value: object, form: str, shown: str) -> None:
    assert text(value, form) == shown


def test_a_condition_number_says_what_is_known_of_it() -> None:
    assert text(kappa(1234.5)) == "1.23e3"
    assert text(kappa(math.inf)) == "∞"
    assert text(kappa(lower_bound=4.29e6)) == "> 4.2e6"
    assert text(kappa()) == "–"


@given(st.floats(1.0, 1e300))
def test_a_lower_bound_is_never_rounded_up(bound: float) -> None:
    assert float(text(kappa(lower_bound=bound)).removeprefix("> ")) <= bound


def test_json_has_null_for_what_is_not_finite() -> None:
    found = plain({"a": math.inf, "b": [math.nan, 1.5], "c": kappa(math.inf), "d": (None, "x")})
    assert found == {
        "a": None,
        "b": [None, 1.5],
        "c": {"value": None, "lower_bound": None, "rank": 3, "size": 4, "infinite": True},
        "d": [None, "x"],
    }


def test_csv_gives_a_condition_number_and_a_rank_two_fields() -> None:
    assert flat("kappa", kappa(lower_bound=5.0)) == {"kappa": None, "kappa_lower_bound": 5.0}
    assert flat("layer", "a\0b") == {"layer": "a\\x00b"}
    rank = Rank(value=3, ceiling=4, size=5)
    assert flat("rank", rank) == {"rank": 3, "rank_ceiling": 4}
    assert flat("rows", 3) == {"rows": 3}


def test_magnitude_is_what_values_are_compared_by() -> None:
    rank = Rank(value=3, ceiling=4, size=5)
    assert [magnitude(value) for value in (2, 0.5, True, None, rank)] == [2, 0.5, 1, None, 3]
    kappas = [kappa(3.0), kappa(lower_bound=4.0), kappa(math.inf), kappa()]
    assert [magnitude(value) for value in kappas] == [3, 4, math.inf, None]


@pytest.mark.parametrize("finite", [kappa(), kappa(3.0), kappa(lower_bound=4.0)])
def test_json_tells_an_infinite_condition_number_from_an_undefined_one(finite: object) -> None:
    assert plain(finite)["infinite"] is False
    assert plain(kappa(math.inf))["infinite"] is True

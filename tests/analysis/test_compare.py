from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from condcli.analysis.change import Change
from condcli.analysis.compare import compare, numbers_of
from condcli.analysis.domination import domination
from condcli.analysis.matching import matched
from condcli.analysis.spectrum import spectrum
from condcli.stats import ProbeStats
from tests.synthetic import diagonal, layer, stats


def pairs(first: ProbeStats, then: ProbeStats) -> list[tuple[str | None, str | None]]:
    return matched(numbers_of(first), numbers_of(then))


@pytest.mark.parametrize(
    ("first", "then", "ratio", "decades"),
    [
        (2.0, 20.0, 10.0, 1.0),
        (1.0, 1e-3, 1e-3, 3.0),
        (0.0, 0.0, 1.0, 0.0),
        (0.0, 1.0, math.inf, math.inf),
        (1.0, 0.0, 0.0, math.inf),
        (None, 1.0, None, 0.0),
        (1.0, None, None, 0.0),
        (None, None, None, 0.0),
        (1e-300, 1e300, math.inf, math.inf),
    ],
)
def test_a_change_is_a_ratio_and_its_decades(
    first: float | None, then: float | None, ratio: float | None, decades: float
) -> None:
    change = Change(first=first, then=then)
    assert change.ratio == (None if ratio is None else pytest.approx(ratio))
    assert change.decades == pytest.approx(decades)


def test_the_numbers_are_those_of_spectrum_and_domination() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.1, 1, (2, 6))
    first = stats(layer("fc", diagonal(*values[0]), diagonal(*values[1])))
    then = stats(layer("fc", diagonal(*(3 * values[0] ** 2)), weight_norm=7.0))
    (row,) = compare(first, then)
    for side, whole in (("first", first), ("then", then)):
        (spectra,), (weights,) = spectrum(whole, percent=[80]), domination(whole)
        assert getattr(row.lambda_max_input, side) == spectra.lambda_max_input
        assert getattr(row.lambda_max_grad, side) == spectra.lambda_max_grad
        assert getattr(row.kappa_input, side) == spectra.kappa_input["80"].value
        assert getattr(row.kappa_grad, side) == spectra.kappa_grad["80"].value
        assert getattr(row.domination_ratio, side) == weights.ratio
        assert getattr(row.weight_norm, side) == weights.weight_norm


def scaled(factors: dict[str, float], **changes: Any) -> ProbeStats:
    """Layers whose Σ_∇h is so many times as large."""
    return stats(
        *(
            layer(name, grad_moment=factor * diagonal(0.5, 0.1), order=order, **changes)
            for order, (name, factor) in enumerate(factors.items())
        )
    )


def test_what_changed_most_comes_first_up_or_down() -> None:
    first = scaled({"a": 1, "b": 1, "c": 1, "d": 1})
    then = scaled({"a": 10, "b": 1, "c": 1e-3, "d": 100})
    rows = compare(first, then)
    assert [row.layer for row in rows] == ["c", "d", "a", "b"]
    assert rows[0].most == "λ(Σ∇h)"
    assert (rows[0].first, rows[0].then) == (pytest.approx(0.5), pytest.approx(5e-4))
    assert (rows[-1].most, rows[-1].first) == ("", None)


def test_one_file_beside_itself_has_not_changed() -> None:
    whole = scaled({"a": 1, "b": 2})
    assert all(row.most == "" for row in compare(whole, whole))


def test_names_match_first_and_what_is_left_by_order_and_shape() -> None:
    wide = {"input_moment": np.eye(5), "input_mean": np.zeros(5)}
    first = stats(layer("same"), layer("old1"), layer("wide", **wide), layer("old2"))
    then = stats(layer("new1"), layer("same"), layer("new2"), layer("extra", kind="conv2d"))
    assert pairs(first, then) == [
        ("same", "same"),
        ("old1", "new1"),
        ("old2", "new2"),
        ("wide", None),
        (None, "extra"),
    ]


def test_a_layer_of_one_name_is_compared_whatever_its_shape() -> None:
    wide = layer("fc", input_moment=np.eye(5), input_mean=np.zeros(5))
    (row,) = compare(stats(layer("fc")), stats(wide))
    assert (row.match, row.lambda_max_input.first, row.lambda_max_input.then) == (
        "name",
        pytest.approx(4.0),
        pytest.approx(1.0),
    )


def test_layers_of_one_file_come_last_and_say_which() -> None:
    rows = compare(scaled({"a": 1, "gone": 1}), scaled({"a": 2, "b": 1, "c": 1}, kind="conv1d"))
    assert [(row.layer, row.match, row.other) for row in rows] == [
        ("a", "name", "a"),
        ("gone", "alone", ""),
        ("b", "alone", "b"),
        ("c", "alone", "c"),
    ]
    assert rows[1].lambda_max_input.ratio is None


def test_what_is_not_finite_or_only_bounded_makes_no_ratio() -> None:
    unknown = layer(
        "fc",
        np.full((3, 3), np.nan),
        weight_singular_values=np.full(2, np.nan),
        weight_norm=float("nan"),
        nonfinite="inputs",
    )
    (row,) = compare(stats(layer("fc")), stats(unknown))
    assert row.lambda_max_input.ratio is None
    assert row.weight_norm.ratio is None
    assert row.lambda_max_grad.ratio == pytest.approx(1)
    bounded = layer("fc", diagonal(1.0, 1e-20, 1e-20))
    (row,) = compare(stats(layer("fc")), stats(bounded))
    assert row.kappa_input.then is None


def test_files_without_layers_have_no_rows() -> None:
    assert compare(stats(), stats()) == []
    assert [row.match for row in compare(stats(), stats(layer()))] == ["alone"]

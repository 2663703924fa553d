from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condcli.analysis.condition import (
    ConditionNumber,
    condition_number,
    kronecker_condition_number,
    place,
)
from condcli.analysis.eigenvalues import Spectrum, spectrum_of
from tests.synthetic import diagonal

EPS = 1e-12


def spectrum(*groups: tuple[float, ...], rows: int = 10_000, eps: float = EPS) -> Spectrum:
    """The spectrum of one matrix a group, each with these eigenvalues."""
    moment = np.stack([diagonal(*group) for group in groups])
    return spectrum_of(moment, rows=rows, eps=eps, name="layer")


def brute_force(groups: list[Any], percent: float) -> float:
    """κ_p of a union of Kronecker products, through the matrices themselves."""
    values = np.concatenate([np.linalg.eigvalsh(np.kron(a, b)) for a, b in groups])
    values = np.sort(values)[::-1]
    return float(values[0] / values[math.ceil(round(percent * len(values), 9) / 100) - 1])


@pytest.mark.parametrize(
    ("percent", "size", "expected"),
    [
        (100, 7, 7),
        (80, 10, 8),
        (50, 7, 4),
        (33.3, 1000, 333),
        (0.1, 10, 1),
        (70, 10, 7),
        (55, 100, 55),
    ],
)
def test_the_place_is_the_exact_ceiling(percent: float, size: int, expected: int) -> None:
    assert place(percent, size) == expected


@given(st.integers(1, 100), st.integers(1, 5000))
def test_the_place_is_that_of_integer_arithmetic(percent: int, size: int) -> None:
    assert place(float(percent), size) == -(-percent * size // 100)


@pytest.mark.parametrize(("percent", "expected"), [(100, 16.0), (80, 8.0), (50, 4.0), (20, 1.0)])
def test_kappa_divides_by_the_eigenvalue_at_the_place(percent: float, expected: float) -> None:
    found = condition_number(spectrum((16.0, 8.0, 4.0, 2.0, 1.0)), percent)
    assert found.value == pytest.approx(expected)
    assert (found.lower_bound, found.rank, found.size) == (None, 5, 5)


def test_kappa_of_groups_is_that_of_their_union() -> None:
    found = condition_number(spectrum((9.0, 3.0), (27.0, 1.0)), 75)
    assert found.value == pytest.approx(9.0)


def test_an_unresolved_eigenvalue_gives_a_lower_bound() -> None:
    found = condition_number(spectrum((5.0, 1.0, 1e-9), eps=1e-6), 100)
    assert found.value is None
    assert found.lower_bound == pytest.approx(1 / 3e-6)
    assert found.rank == 2


def test_beyond_the_rank_ceiling_kappa_is_infinite() -> None:
    rows = np.random.default_rng(0).standard_normal((3, 5))
    found = condition_number(spectrum_of(rows.T @ rows, rows=3, eps=EPS, name="layer"), 100)
    assert found == ConditionNumber(value=math.inf, lower_bound=None, rank=3, size=5)


def test_a_zero_matrix_has_no_condition_number() -> None:
    zero = spectrum((0.0, 0.0))
    undefined = ConditionNumber(value=None, lower_bound=None, rank=0, size=2)
    assert condition_number(zero, 100) == undefined
    found = kronecker_condition_number(zero, spectrum((1.0,)), 50)
    assert (found.value, found.lower_bound) == (None, None)


@pytest.mark.parametrize("percent", [100, 80, 50, 33.3, 1])
def test_kappa_of_f_is_that_of_the_kronecker_product_itself(percent: float) -> None:
    a, b = diagonal(7.0, 2.0, 0.3, 0.01), diagonal(11.0, 5.0, 1.3, 0.2, 0.05)
    x, grad = (spectrum_of(m, rows=99, eps=EPS, name="layer") for m in (a, b))
    found = kronecker_condition_number(x, grad, percent)
    assert found.value == pytest.approx(brute_force([(a, b)], percent), rel=1e-9)
    assert (found.rank, found.size) == (20, 20)


@pytest.mark.parametrize("percent", [100, 80, 50])
def test_kappa_of_a_grouped_f_is_that_of_the_union_of_its_groups(percent: float) -> None:
    pairs = [
        (diagonal(4.0, 1.0, 0.5), diagonal(1e-3, 1e-4)),
        (diagonal(9.0, 0.3, 0.1), diagonal(2.0, 1.0)),
    ]
    x, grad = (
        spectrum_of(np.stack(side), rows=99, eps=EPS, name="layer")
        for side in zip(*pairs, strict=True)
    )
    found = kronecker_condition_number(x, grad, percent)
    assert found.value == pytest.approx(brute_force(pairs, percent), rel=1e-9)


@pytest.mark.parametrize(("percent", "of_f", "product"), [(100, 24, 24), (80, 16, 24)])
def test_proposition_1_holds_at_100_percent_and_not_below(
    percent: float, of_f: float, product: float
) -> None:
    x, grad = spectrum((8.0, 4.0, 1.0)), spectrum((6.0, 3.0, 2.0))
    factors = [condition_number(factor, percent).value or 0 for factor in (x, grad)]
    assert kronecker_condition_number(x, grad, percent).value == pytest.approx(of_f)
    assert factors[0] * factors[1] == pytest.approx(product)


def test_an_eigenvalue_of_f_is_resolved_where_unresolved_factors_cannot_reach_it() -> None:
    x, grad = spectrum((1.0, 0.5, 1e-20)), spectrum((1.0, 0.25))
    assert kronecker_condition_number(x, grad, 50).value == pytest.approx(1 / 0.25)
    beyond = kronecker_condition_number(x, grad, 100)
    assert beyond.value is None
    # The smallest product is at most floor(x) · 0.25.
    assert beyond.lower_bound == pytest.approx(1 / (3 * EPS * 0.25))


def test_a_bound_of_f_holds_for_every_value_under_the_floor() -> None:
    eps = 1e-3
    for hidden in (0.0, 1e-5, 2e-3, 3e-3):
        x, grad = spectrum((1.0, 0.5, hidden), eps=eps), spectrum((1.0, 1e-4), eps=eps)
        products = np.sort(np.outer([1.0, 0.5, hidden], [1.0, 1e-4]).ravel())[::-1]
        for k in range(1, 7):
            found = kronecker_condition_number(x, grad, 100 * k / 6 - 1)
            truth = 1 / products[k - 1] if products[k - 1] else math.inf
            if found.value is None:
                assert found.lower_bound is not None
                assert found.lower_bound <= truth * (1 + 1e-9)
            else:
                assert found.value == pytest.approx(truth)


def test_f_beyond_the_rank_of_its_factors_is_infinite() -> None:
    moment = np.diag([1.0, 1.0, 0.0])
    x = spectrum_of(moment, rows=99, eps=EPS, name="layer")
    found = kronecker_condition_number(x, spectrum((2.0, 1.0)), 100)
    assert found == ConditionNumber(value=math.inf, lower_bound=None, rank=4, size=6)

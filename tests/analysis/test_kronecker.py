"""The order statistic against sorting all products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condcli.analysis import kronecker
from condcli.analysis.kronecker import count_products_from, kth_largest_product

# Few values make many ties; the floats bring under- and overflow of nothing but the last digit.
values = st.one_of(
    st.sampled_from([0.0, 1e-9, 0.5, 1.0, 1.0 + 2**-52, 3.0]), st.floats(1e-100, 1e100)
)


@st.composite
def factors(draw: st.DrawFn) -> tuple[Any, Any]:
    groups, m, n = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    a = draw(st.lists(values, min_size=groups * m, max_size=groups * m))
    b = draw(st.lists(values, min_size=groups * n, max_size=groups * n))
    return tuple(
        -np.sort(-np.array(x).reshape(groups, size), axis=1) for x, size in ((a, m), (b, n))
    )


def all_products(a: Any, b: Any) -> Any:
    """Every product, descending."""
    return -np.sort(-(a[:, :, None] * b[:, None, :]).ravel())


@pytest.mark.parametrize("few", [0, 3, 1024])
@settings(deadline=None, max_examples=100)
@given(factors=factors(), data=st.data())
def test_the_order_statistic_is_that_of_sorting_all_products(
    few: int, factors: tuple[Any, Any], data: st.DataObject
) -> None:
    products = all_products(*factors)
    k = data.draw(st.integers(1, products.size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kronecker, "_FEW", few)
        assert kth_largest_product(*factors, k) == products[k - 1]


@pytest.mark.parametrize("few", [0, 1024])
@settings(deadline=None, max_examples=100)
@given(factors=factors(), data=st.data())
def test_products_are_counted_with_ties(
    few: int, factors: tuple[Any, Any], data: st.DataObject
) -> None:
    products = all_products(*factors)
    positive = products[products > 0]
    threshold = data.draw(st.sampled_from(list(positive))) if positive.size else 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kronecker, "_FEW", few)
        assert count_products_from(*factors, float(threshold)) == np.sum(products >= threshold)


def test_a_big_layer_is_exact_as_well() -> None:
    rng = np.random.default_rng(0)
    a, b = (-np.sort(-rng.lognormal(0, 4, (1, size)), axis=1) for size in (700, 300))
    products = all_products(a, b)
    for k in (1, 2, 1000, 105_000, 168_000, 210_000):
        assert kth_largest_product(a, b, k) == products[k - 1]


def test_a_big_layer_of_equal_eigenvalues_has_one_product() -> None:
    assert kth_largest_product(np.full((1, 900), 2.0), np.full((1, 900), 3.0), 400_000) == 6.0

"""What is read off Σ_x and the mean is what the rows themselves say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from condcli.analysis.diagnosis.features import Features, features_of
from condcli.analysis.eigenvalues import spectrum_of
from tests.synthetic import layer


def of_rows(rows: np.ndarray, dtype: str = "float64", **changes: Any) -> Features:
    """The features of a layer that saw these rows, (R, d)."""
    moment = (rows.T @ rows / len(rows)).astype(dtype)
    return of_moment(moment, rows.mean(axis=0), dtype, **changes)


def of_moment(moment: np.ndarray, mean: np.ndarray, dtype: str, **changes: Any) -> Features:
    eps = float(np.finfo(dtype).eps)
    spectrum = spectrum_of(moment, rows=1000, eps=eps, name="x")
    return features_of(layer(input_moment=moment, input_mean=mean, **changes), spectrum, eps)


@pytest.fixture
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((700, 6)) @ rng.standard_normal((6, 6)) + np.arange(6)


def test_the_shares_of_the_mean_are_those_of_the_rows(rows: np.ndarray) -> None:
    seen, mean = of_rows(rows), rows.mean(axis=0)
    largest = np.linalg.svd(rows, compute_uv=False)[0] ** 2 / len(rows)
    assert seen.mean_square == pytest.approx((rows**2).mean())
    assert seen.mean_share == pytest.approx((mean**2).sum() / (rows**2).sum(axis=1).mean())
    assert seen.mean_share_of_largest == pytest.approx((mean**2).sum() / largest)


def test_directions_are_the_participation_ratio_of_the_covariance(rows: np.ndarray) -> None:
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert of_rows(rows).directions == pytest.approx(expected)


def test_more_features_than_fit_into_a_block_are_all_looked_at() -> None:
    rows = np.random.default_rng(0).standard_normal((900, 600))
    rows[:, 599] = rows[:, 3]
    seen = of_rows(rows)
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
    assert seen.directions == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
    assert seen.copies == ((599, 3),)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies_multiples_and_shifted_features_are_found_once(rows: np.ndarray, dtype: str) -> None:
    copied = np.column_stack([rows, rows[:, 2], -3 * rows[:, 2], rows[:, 0] + 1])
    assert of_rows(copied, dtype).copies == ((6, 2), (7, 2), (8, 0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_that_only_go_together_are_no_copies(rows: np.ndarray, dtype: str) -> None:
    noise = np.random.default_rng(1).standard_normal(len(rows))
    alike = np.column_stack([rows, rows[:, 2] + 0.03 * rows[:, 2].std() * noise])
    assert of_rows(alike, dtype).copies == ()


def test_features_that_one_row_has_are_no_copies(rows: np.ndarray) -> None:
    rare = np.zeros((len(rows), 2))
    rare[5] = 1.0
    assert of_rows(np.column_stack([rows, rare])).copies == ()


def test_silent_and_constant_features_are_counted(rows: np.ndarray) -> None:
    seen = of_rows(np.column_stack([rows, np.zeros((len(rows), 2)), np.full(len(rows), 7.0)]))
    assert (seen.silent, seen.constant) == (2, 3)


@pytest.mark.parametrize(("change", "expected"), [(np.abs, True), (np.asarray, False)])
def test_an_input_that_is_never_negative_is_told(
    rows: np.ndarray, change: Any, expected: bool
) -> None:
    assert of_rows(change(rows)).non_negative is expected


def test_the_spread_is_the_largest_feature_over_the_median_one(rows: np.ndarray) -> None:
    scaled = rows * np.array([1, 1, 1e3, 1, 0, 1])
    squares = (scaled**2).mean(axis=0)
    assert of_rows(scaled).spread == pytest.approx(squares.max() / np.median(squares[squares > 0]))


def test_groups_share_what_can_be_shared() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 2, 3)) + np.array([[0.0], [5.0]])
    moment = np.einsum("rgi,rgj->gij", rows, rows) / len(rows)
    seen = of_moment(moment, rows.mean(axis=0).ravel(), "float64")
    leading = np.linalg.eigvalsh(moment[1])[-1]
    assert seen.mean_share_of_largest == pytest.approx(
        (rows[:, 1].mean(axis=0) ** 2).sum() / leading
    )
    assert (seen.directions, seen.copies) == (None, ())


def test_a_table_of_vectors_has_shares_of_counts() -> None:
    shares = np.array([0.5, 0.25, 0.25, 0.0])
    seen = of_moment(shares, shares, "float32", kind="embedding")
    assert seen.mean_share == pytest.approx((shares**2).sum())
    assert (seen.silent, seen.directions, seen.copies) == (1, None, ())


def test_an_input_of_zeros_has_no_shares() -> None:
    seen = of_rows(np.zeros((10, 3)))
    assert (seen.mean_share, seen.mean_share_of_largest, seen.directions) == (0, 0, 0)
    assert (seen.spread, seen.copies, seen.silent) == (0, (), 3)

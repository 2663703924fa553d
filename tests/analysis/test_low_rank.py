"""Against the whole eigenproblem of the same matrix, and against the rows it is a moment of."""

from __future__ import annotations

import numpy as np
import pytest

from condcli.analysis.eigenvalues import spectrum_of
from condcli.analysis.low_rank import low_rank_eigenvalues
from condcli.errors import InputError
from tests.synthetic import diagonal

SIZE = 600
EPS32 = float(np.finfo(np.float32).eps)


def rows_of(kind: str, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = {
        "plain": rng.standard_normal((count, SIZE)),
        "mean far from zero": 3 + rng.standard_normal((count, SIZE)),
        "decaying": rng.standard_normal((count, SIZE)) * np.logspace(0, -4, SIZE),
        "rectified": np.maximum(rng.standard_normal((count, SIZE)) - 1, 0),
        "neighbours alike": np.cumsum(rng.standard_normal((count, SIZE)), axis=1),
        "repeated": np.repeat(rng.standard_normal((count // 4, SIZE)), 4, axis=0),
        "of all sizes": rng.standard_normal((count, SIZE)) * np.logspace(0, -9, count)[:, None],
    }
    return rows[kind]


KINDS = (
    "plain",
    "mean far from zero",
    "decaying",
    "rectified",
    "neighbours alike",
    "repeated",
    "of all sizes",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_moment_of_few_rows_has_the_spectrum_that_lapack_finds(kind: str, dtype: type) -> None:
    rows = rows_of(kind, 100).astype(dtype)
    moment = rows.T @ rows / len(rows)
    moment = (moment + moment.T) / 2
    eps = float(np.finfo(dtype).eps)
    found = spectrum_of(moment, rows=100, eps=eps, name="layer")
    expected = np.linalg.eigvalsh(moment.astype(np.float64))[::-1]
    floor = SIZE * eps * expected[0]
    np.testing.assert_allclose(found.values[0], np.maximum(expected, 0), rtol=0, atol=floor / 16)
    assert found.floor[0, 0] == pytest.approx(floor, rel=1e-6)
    assert found.ceiling[0, 0] <= 100


@pytest.mark.parametrize("kind", ["plain", "mean far from zero", "rectified"])
def test_the_thin_factor_is_what_gives_it(kind: str) -> None:
    solved: list[int] = []

    def solve(matrices: np.ndarray) -> np.ndarray:
        solved.append(matrices.shape[1])
        return np.linalg.eigvalsh(matrices)

    rows = rows_of(kind, 100).astype(np.float32)
    spectrum_of(rows.T @ rows, rows=100, eps=EPS32, name="layer", solve=solve)
    assert solved == [100]


def test_a_matrix_of_higher_rank_than_its_rows_is_solved_whole() -> None:
    """It may be called a mean over 50 rows, but is not."""
    matrix = diagonal(*np.linspace(2, 1, SIZE))
    assert (
        low_rank_eigenvalues(matrix, rank=50, eps=EPS32, tolerance=1e-6, solve=np.linalg.eigvalsh)
        is None
    )
    found = spectrum_of(matrix, rows=50, eps=EPS32, name="layer")
    np.testing.assert_allclose(found.values[0], np.linspace(2, 1, SIZE), rtol=1e-12)


@pytest.mark.parametrize("size", [0.1, -0.1])
def test_one_entry_that_no_factor_explains_is_noticed(size: float) -> None:
    found = spectrum_of(with_odd_entry(size), rows=50, eps=EPS32, name="layer")
    expected = np.linalg.eigvalsh(with_odd_entry(size))[::-1]
    np.testing.assert_allclose(found.values[0, :50], expected[:50], rtol=1e-9)
    assert found.floor[0, 0] == pytest.approx(-expected[-1])


def test_one_large_entry_that_no_factor_explains_is_refused() -> None:
    with pytest.raises(InputError, match=r"layer has the eigenvalue -2\.8, below zero"):
        spectrum_of(with_odd_entry(3.0), rows=50, eps=EPS32, name="layer")


def with_odd_entry(size: float) -> np.ndarray:
    """A moment of 50 rows, but for one entry and its mirror image."""
    rows = rows_of("plain", 50)
    matrix = rows.T @ rows
    matrix[7, 300] += size
    matrix[300, 7] += size
    return matrix


def test_groups_of_few_rows_are_each_their_own() -> None:
    rows = np.stack([rows_of("plain", 80), rows_of("rectified", 80)])
    moments = np.einsum("gri,grj->gij", rows, rows)
    moments = (moments + moments.swapaxes(1, 2)) / 2
    found = spectrum_of(moments, rows=80, eps=EPS32, name="layer")
    expected = np.linalg.svd(rows, compute_uv=False) ** 2
    np.testing.assert_allclose(found.values[:, :80], expected, rtol=1e-8)
    assert (found.values[:, 80:] == 0).all()


def test_units_that_are_dead_make_the_rank_small_too() -> None:
    moment = np.zeros((SIZE, SIZE))
    moment[100:180, 100:180] = diagonal(*np.linspace(4, 1, 80))
    found = spectrum_of(moment, rows=10_000, eps=EPS32, name="layer")
    np.testing.assert_allclose(found.values[0, :80], np.linspace(4, 1, 80), rtol=1e-9)
    assert found.rank.ceiling == 80

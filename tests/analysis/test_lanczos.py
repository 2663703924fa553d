"""Against the whole spectrum, of matrices whose eigenvalues are known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from condcli.analysis.lanczos import largest_eigenvalues
from tests.synthetic import diagonal

SIZE = 400
rng = np.random.default_rng(0)
SPECTRA = {
    "one far above the rest": [1e4, *rng.random(SIZE - 1)],
    "decaying": np.logspace(0, -12, SIZE),
    "a cluster of the largest": [3, 3 - 1e-3, 3 - 2e-3, *rng.random(SIZE - 3)],
    "a tight cluster": [3, 3 - 1e-7, 3 - 2e-7, *rng.random(SIZE - 3)],
    "largest ones repeated": [5.0] * 3 + [4.0] * 2 + [*rng.random(SIZE - 5)],
    "few rows": [9.0, 7.0, 5.0, 2.0] + [0.0] * (SIZE - 4),
    "few distinct": [2.0] * 7 + [1.0] * (SIZE - 7),
    "tiny": 1e-30 * np.logspace(0, -6, SIZE),
    "random rows": np.linalg.svd(rng.standard_normal((900, SIZE)), compute_uv=False) ** 2,
    "identity": [1.0] * SIZE,
    "zero": [0.0] * SIZE,
}


HARD = {"a cluster of the largest", "a tight cluster", "random rows"}


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_largest_eigenvalues_are_found_to_ten_digits_or_left_to_others(
    name: str, count: int
) -> None:
    expected = np.sort(SPECTRA[name])[::-1][:count]
    found = largest_eigenvalues(diagonal(*SPECTRA[name]), count)
    if found is None:
        assert name in HARD or (count > 1 and name == "one far above the rest")
        return
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13 * expected[0])


def test_float32_matrices_are_taken_in_double_precision() -> None:
    matrix = diagonal(*SPECTRA["one far above the rest"]).astype(np.float32)
    found = largest_eigenvalues(matrix, 1)
    assert found is not None
    assert found[0] == pytest.approx(np.linalg.eigvalsh(matrix.astype(float))[-1], rel=1e-10)


@pytest.mark.parametrize("count", [1, 3])
def test_a_large_float32_matrix_is_multiplied_in_pieces(count: int) -> None:
    factor = np.random.default_rng(2).standard_normal((40, 1501)) * np.logspace(0, -2, 40)[:, None]
    matrix = (factor.T @ factor).astype(np.float32)
    matrix = np.maximum(matrix, matrix.T)
    found = largest_eigenvalues(matrix, count)
    assert found is not None
    expected = np.linalg.eigvalsh(matrix.astype(np.float64))[::-1][:count]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize(("size", "count"), [(1, 1), (100, 1), (SIZE, 40), (SIZE, SIZE)])
def test_small_matrices_and_many_eigenvalues_are_left_to_others(size: int, count: int) -> None:
    assert largest_eigenvalues(np.eye(size), count) is None


def test_the_same_matrix_gives_the_same_digits() -> None:
    matrix = diagonal(*SPECTRA["decaying"])
    first, second = (largest_eigenvalues(matrix, 3) for _ in range(2))
    assert first is not None
    np.testing.assert_array_equal(first, second)


def test_what_is_left_of_a_low_rank_matrix_is_not_taken_for_more_of_it() -> None:
    draw = np.random.default_rng(7)
    rotation, _ = np.linalg.qr(draw.standard_normal((256, 256)))
    for _ in range(150):
        rank, count = int(draw.integers(1, 40)), int(draw.integers(1, 9))
        values = np.zeros(256)
        values[:rank] = draw.choice([1.0, 1e-3, 1e-6], rank)
        half = (rotation * values) @ rotation.T / 2
        found = largest_eigenvalues(half + half.T, count)
        if found is not None:
            expected = np.sort(values)[::-1][:count]
            assert np.abs(found - expected).max() <= 1e-10 * expected[0]


@pytest.mark.parametrize("size", [1e-150, 1e-170, 1e-300])
def test_numbers_whose_squares_vanish_are_no_smaller_for_it(size: float) -> None:
    draw = np.random.default_rng(3)
    row = draw.standard_normal(300)
    found = largest_eigenvalues(size * np.outer(row, row), 1)
    assert found is not None
    assert found[0] == pytest.approx(size * (row @ row), rel=1e-10, abs=0)

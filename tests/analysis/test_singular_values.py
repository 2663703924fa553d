"""Against LAPACK's own singular value decomposition, to 1e-10 of the largest."""

from __future__ import annotations

import numpy as np
import pytest

from condcli.analysis.singular_values import singular_values, singular_values_of_each


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + shape[-1]).standard_normal(shape)


def with_singular_values(*values: float, rows: int) -> np.ndarray:
    left, _ = np.linalg.qr(random(rows, len(values)))
    right, _ = np.linalg.qr(random(len(values), len(values)))
    return (left * np.array(values)) @ right


def assert_exact(matrices: np.ndarray) -> None:
    """As LAPACK finds them, each to 1e-10 of the largest of its group, which are of like size."""
    expected = np.sort(np.linalg.svd(matrices, compute_uv=False), axis=None)[::-1]
    found = singular_values(matrices)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * expected[0])
    assert (np.diff(found) <= 0).all()


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (7, 3), (3, 7), (100, 100), (400, 90), (90, 400), (5, 100, 60), (300, 9, 1)],
)
def test_random_matrices_of_all_shapes(shape: tuple[int, ...]) -> None:
    assert_exact(random(*shape))


@pytest.mark.parametrize("decades", [1, 3, 5, 5.9, 6.1, 7, 8, 10, 16, 300])
def test_small_singular_values_are_as_exact_as_large_ones(decades: float) -> None:
    assert_exact(with_singular_values(*np.logspace(0, -decades, 80), rows=120))


def test_one_tiny_singular_value_among_large_ones() -> None:
    values = [*np.linspace(2, 1, 60), 3e-8]
    found = singular_values(with_singular_values(*values, rows=200))
    np.testing.assert_allclose(found, values, rtol=0, atol=1e-13)


def test_a_gradient_of_few_examples_has_few_singular_values() -> None:
    found = singular_values(random(50, 6) @ random(6, 40))
    assert np.count_nonzero(found > 1e-10 * found[0]) == 6
    assert_exact(random(50, 6) @ random(6, 40))


def test_dead_units_and_unused_tokens_leave_zeros() -> None:
    matrix = np.zeros((1000, 64))
    matrix[5:45, 10:60] = random(40, 50)
    found = singular_values(matrix)
    assert found.shape == (64,)
    assert np.count_nonzero(found) == 40
    assert_exact(matrix)
    assert_exact(matrix.T)


def test_a_zero_matrix_has_zeros() -> None:
    assert singular_values(np.zeros((50, 70))).tolist() == [0.0] * 50


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_values_that_cannot_be_squared_are_no_obstacle(scale: float) -> None:
    matrix = random(90, 70)
    np.testing.assert_allclose(
        singular_values(scale * matrix) / scale, singular_values(matrix), rtol=1e-10
    )


def test_several_at_once_are_each_their_own() -> None:
    first, second = random(80, 50), random(3, 40, 60)
    found = singular_values_of_each({"first": first, "second": second})
    assert [values.shape for values in found] == [(50,), (120,)]
    for values, matrices in zip(found, (first, second), strict=True):
        np.testing.assert_array_equal(values, singular_values(matrices))

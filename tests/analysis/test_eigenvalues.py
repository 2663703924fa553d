from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from condcli.analysis.eigenvalues import Rank, Spectrum, spectrum_of
from condcli.errors import InputError
from tests.synthetic import diagonal

EPS = float(np.finfo(np.float64).eps)


def spectrum(moment: Any, rows: int = 10_000, eps: float = EPS) -> Spectrum:
    return spectrum_of(moment, rows=rows, eps=eps, name="layer 'fc': its input moment")


def test_eigenvalues_are_the_squared_singular_values_of_the_rows() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 7))
    found = spectrum(rows.T @ rows / 50, rows=50)
    expected = np.linalg.svd(rows, compute_uv=False) ** 2 / 50
    np.testing.assert_allclose(found.values, expected[None], rtol=1e-12)
    assert found.rank == Rank(value=7, ceiling=7, size=7)
    assert found.largest == pytest.approx(expected[0])


def test_groups_are_decomposed_apart() -> None:
    found = spectrum(np.stack([diagonal(3.0, 1.0), diagonal(8.0, 2.0)]))
    np.testing.assert_allclose(found.values, [[3, 1], [8, 2]])
    assert found.largest == pytest.approx(8)
    assert found.size == 4


def test_the_noise_floor_is_d_eps_lambda_max_of_each_group() -> None:
    found = spectrum(np.stack([diagonal(3.0, 1.0), diagonal(8.0, 2.0)]), eps=1e-7)
    np.testing.assert_allclose(found.floor, [[2 * 1e-7 * 3], [2 * 1e-7 * 8]])


def test_an_eigenvalue_under_the_floor_lies_between_zero_and_the_floor() -> None:
    found = spectrum(diagonal(1.0, 0.5, 1e-9), eps=1e-7)
    assert found.resolved.tolist() == [[True, True, False]]
    np.testing.assert_allclose(found.lower, [[1, 0.5, 0]])
    np.testing.assert_allclose(found.upper, [[1, 0.5, 3e-7]])
    assert found.rank == Rank(value=2, ceiling=3, size=3)


def test_a_negative_eigenvalue_raises_the_floor_to_its_size() -> None:
    found = spectrum(diagonal(1.0, 1e-6, -1e-5), eps=1e-7)
    assert found.floor[0, 0] == pytest.approx(1e-5)
    assert found.rank.value == 1
    assert (found.values >= 0).all()


def test_the_rank_is_no_larger_than_the_number_of_rows() -> None:
    rows = np.random.default_rng(0).standard_normal((4, 9))
    found = spectrum(rows.T @ rows / 4, rows=4)
    assert found.rank == Rank(value=4, ceiling=4, size=9)
    assert (found.upper[0, 4:] == 0).all()


def test_units_that_are_always_zero_lower_the_rank_ceiling() -> None:
    moment = np.zeros((5, 5))
    moment[1:4, 1:4] = diagonal(3.0, 2.0, 1e-30)
    assert spectrum(moment).rank.ceiling == 3


@pytest.mark.parametrize("eps", [EPS, float(np.finfo(np.float32).eps)])
def test_the_gradients_of_a_softmax_head_have_rank_at_most_classes_less_one(eps: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((500, 10))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gradients = probabilities - np.eye(10)[rng.integers(0, 10, 500)]
    gradients = gradients.astype(np.float64 if eps == EPS else np.float32)
    found = spectrum(gradients.T @ gradients / 500, eps=eps)
    assert found.rank == Rank(value=9, ceiling=9, size=10)


def test_units_that_do_not_sum_to_zero_keep_the_whole_ceiling() -> None:
    rows = np.random.default_rng(0).standard_normal((500, 300)).astype(np.float32)
    found = spectrum(rows.T @ rows / 500, eps=float(np.finfo(np.float32).eps))
    assert found.rank.ceiling == 300
    assert spectrum(np.array([[2.0]])).rank.ceiling == 1


@pytest.mark.parametrize("size", [2, 3, 8])
def test_units_that_nearly_sum_to_zero_keep_an_eigenvalue_above_the_floor(size: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1000, size)).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    eps = float(np.finfo(np.float32).eps)
    for noise in np.logspace(-1, -5, 60):
        moved = rows + np.float32(noise) * rng.standard_normal((1000, 1), dtype=np.float32)
        moment = moved.T @ moved / 1000
        values = np.linalg.eigvalsh(moment.astype(np.float64))
        found = spectrum(moment, eps=eps)
        assert found.rank.value == np.count_nonzero(values > found.floor[0, 0])


def test_two_inputs_that_nearly_cancel_have_a_finite_condition_number() -> None:
    rng = np.random.default_rng(0)
    first = rng.standard_normal(1000)
    rows = np.stack([first, 0.002 * rng.standard_normal(1000) - first], axis=1).astype(np.float32)
    found = spectrum(rows.T @ rows / 1000, eps=float(np.finfo(np.float32).eps))
    truth = np.linalg.svd(rows.astype(np.float64), compute_uv=False) ** 2
    assert found.rank == Rank(value=2, ceiling=2, size=2)
    assert found.largest / found.values[0, 1] == pytest.approx(truth[0] / truth[1], rel=0.2)


def test_scaling_scales_eigenvalues_and_floor() -> None:
    moment = diagonal(4.0, 1.0)
    scaled, direct = spectrum(moment).scaled(100.0), spectrum(100 * moment)
    np.testing.assert_allclose(scaled.values, direct.values)
    np.testing.assert_allclose(scaled.floor, direct.floor)


@pytest.mark.parametrize(
    ("eigenvalues", "effective"),
    [
        ((2.0, 2.0, 2.0, 2.0), 4.0),
        ((5.0, 0.0, 0.0), 1.0),
        ((3.0, 1.0), math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))),
    ],
)
def test_the_effective_rank_is_exp_of_the_entropy(
    eigenvalues: tuple[float, ...], effective: float
) -> None:
    assert spectrum(diagonal(*eigenvalues)).effective_rank == pytest.approx(effective)


def test_a_dead_layer_has_rank_zero_and_no_effective_rank() -> None:
    found = spectrum(np.zeros((3, 3)))
    assert (found.largest, found.rank) == (0.0, Rank(value=0, ceiling=0, size=3))
    assert found.effective_rank is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_by_the_layers_name(bad: float) -> None:
    moment = diagonal(1.0, 2.0)
    moment[0, 1] = bad
    with pytest.raises(InputError, match="layer 'fc': its input moment holds NaN or infinity"):
        spectrum(moment)


def test_a_matrix_that_is_not_symmetric_is_refused() -> None:
    with pytest.raises(InputError, match=r"is not symmetric \(by up to 1\)"):
        spectrum(np.array([[2.0, 1.0], [0.0, 2.0]]))


def test_asymmetry_of_rounding_size_is_not_refused() -> None:
    moment = diagonal(3.0, 2.0, 1.0)
    moment[0, 1] *= 1 + 2e-16
    np.testing.assert_allclose(spectrum(moment).values, [[3, 2, 1]])


@pytest.mark.parametrize("eigenvalues", [(1.0, -0.5), (-1.0, -2.0)])
def test_a_matrix_that_is_no_second_moment_is_refused(eigenvalues: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="below zero"):
        spectrum(diagonal(*eigenvalues))


def test_a_moment_of_one_axis_is_a_diagonal_without_a_noise_floor() -> None:
    """Token frequencies are counted, not summed: one in a million is no rounding."""
    frequencies = np.array([0.0, 1e-6, 0.7, 0.0, 0.299999])
    found = spectrum(frequencies, eps=1e-3)
    assert found.values.tolist() == [[0.7, 0.299999, 1e-6, 0.0, 0.0]]
    assert found.resolved.tolist() == [[True, True, True, False, False]]
    assert found.rank == Rank(value=3, ceiling=3, size=5)


def test_a_diagonal_has_the_spectrum_of_its_matrix() -> None:
    frequencies = np.random.default_rng(0).dirichlet(np.ones(6))
    one, other = spectrum(frequencies), spectrum(np.diag(frequencies))
    np.testing.assert_allclose(one.values, other.values, rtol=1e-12)
    assert one.effective_rank == pytest.approx(other.effective_rank)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1])
def test_a_diagonal_that_is_no_second_moment_is_refused(wrong: float) -> None:
    with pytest.raises(InputError, match="layer 'fc': its input moment"):
        spectrum(np.array([0.5, wrong]))

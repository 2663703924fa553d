from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from condcli.analysis.eigenvalues import Rank
from condcli.analysis.spectrum import eigenvalues, spectrum
from condcli.errors import InputError, UsageError
from tests.synthetic import diagonal, layer, stats

X, GRAD = diagonal(6.0, 3.0, 1.0), diagonal(0.5, 0.1)


def test_a_row_holds_the_spectra_of_both_factors_and_of_their_product() -> None:
    (row,) = spectrum(stats(layer("fc", X, GRAD)), percent=(100, 50))
    assert (row.layer, row.kind, row.rows, row.d_in, row.d_out) == ("fc", "linear", 1000, 3, 2)
    assert row.lambda_max_input == pytest.approx(6)
    assert row.lambda_max_grad == pytest.approx(0.5)
    assert row.lambda_max == pytest.approx(3)
    assert list(row.kappa) == ["100", "50"]
    assert row.kappa_input["100"].value == pytest.approx(6)
    assert row.kappa_grad["50"].value == pytest.approx(1)
    assert row.kappa["100"].value == pytest.approx(30)
    assert row.kappa["50"].value == pytest.approx(3 / 0.6)
    assert row.rank_input == Rank(value=3, ceiling=3, size=3)
    assert row.rank_grad == Rank(value=2, ceiling=2, size=2)


def test_in_the_channels_view_gradients_are_scaled_by_positions_squared() -> None:
    conv = layer("conv", X, GRAD, positions=4.0)
    (row,) = spectrum(stats(conv, conv="channels"))
    assert row.lambda_max_grad == pytest.approx(16 * 0.5)
    assert row.lambda_max == pytest.approx(6 * 16 * 0.5)
    assert max(r.eigenvalue for r in eigenvalues(stats(conv)) if r.matrix == "grad") == (
        pytest.approx(8)
    )


def test_in_the_patches_view_f_is_scaled_by_positions() -> None:
    (row,) = spectrum(stats(layer("conv", X, GRAD, positions=4.0), conv="patches"))
    assert row.lambda_max_grad == pytest.approx(0.5)
    assert row.lambda_max == pytest.approx(4 * 6 * 0.5)


def test_condition_numbers_do_not_depend_on_the_view() -> None:
    conv = layer("conv", X, GRAD, positions=49.0)
    channels, patches = (spectrum(stats(conv, conv=view))[0] for view in ("channels", "patches"))
    for percent in ("100", "80", "50"):
        for name in ("kappa_input", "kappa_grad", "kappa"):
            one, other = getattr(channels, name)[percent], getattr(patches, name)[percent]
            assert one.value == pytest.approx(other.value)


def test_lambda_max_of_a_grouped_f_is_the_largest_of_its_groups_and_not_of_mixed_ones() -> None:
    x, grad = np.array([[[9.0]], [[1.0]]]), np.array([[[1.0]], [[4.0]]])
    (row,) = spectrum(stats(layer("depthwise", x, grad)))
    assert row.lambda_max == pytest.approx(9)
    assert row.kappa["100"].value == pytest.approx(9 / 4)
    assert (row.d_in, row.d_out) == (2, 2)


def test_float32_probes_have_the_higher_noise_floor() -> None:
    moment = diagonal(1.0, 1e-9)
    fine, coarse = (
        spectrum(stats(layer("fc", moment), dtype=dtype))[0].kappa_input["100"]
        for dtype in ("float64", "float32")
    )
    assert fine.value == pytest.approx(1e9, rel=1e-4)
    assert coarse.value is None
    assert coarse.lower_bound == pytest.approx(1 / (2 * np.finfo(np.float32).eps))


def test_the_input_rank_is_bounded_by_input_rows_and_the_gradients_by_rows() -> None:
    (row,) = spectrum(stats(layer("conv", X, GRAD, input_rows=2, rows=1)))
    assert (row.rank_input.ceiling, row.rank_grad.ceiling) == (2, 1)


def test_a_dead_layer_has_a_sensible_row() -> None:
    (row,) = spectrum(stats(layer("dead", np.zeros((3, 3)), np.zeros((2, 2)))))
    assert (row.lambda_max, row.rank_input.value, row.effective_rank_input) == (0.0, 0, None)
    assert row.kappa["100"].value is None
    assert row.profile_input == (None, None, None)


def test_layers_are_chosen_by_a_glob_and_keep_their_order() -> None:
    three = stats(layer("b.1"), layer("a"), layer("b.0"))
    assert [row.layer for row in spectrum(three, layers="b.*")] == ["b.1", "b.0"]
    with pytest.raises(UsageError, match=r"no layer matches 'c'; the layers are named b.1, a, b.0"):
        spectrum(three, layers="c")


def test_no_layers_give_no_rows() -> None:
    assert spectrum(stats()) == []


@pytest.mark.parametrize("percent", [(0,), (100.5,), (-1,), (float("nan"),), ()])
def test_a_percentage_out_of_range_is_refused(percent: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="percentage"):
        spectrum(stats(layer()), percent=percent)


@pytest.mark.parametrize("which", ["input_moment", "grad_moment"])
def test_a_nan_is_refused_by_the_layers_name(which: str) -> None:
    moment = np.full((2, 2), np.nan)
    broken: Any = dataclasses.replace(layer("fc3"), **{which: moment})
    with pytest.raises(InputError, match=r"layer 'fc3': its .* moment holds NaN"):
        spectrum(stats(layer("fc1"), broken))


def test_eigenvalues_come_one_a_row_with_their_group_and_place() -> None:
    grouped = layer("conv", np.stack([diagonal(2.0, 1.0), diagonal(5.0, 0.0)]), np.ones((2, 1, 1)))
    found = eigenvalues(stats(grouped))
    values = [(row.matrix, row.group, row.index, round(row.eigenvalue, 9)) for row in found]
    assert values == [
        ("input", 0, 1, 2.0),
        ("input", 0, 2, 1.0),
        ("input", 1, 1, 5.0),
        ("input", 1, 2, 0.0),
        ("grad", 0, 1, 1.0),
        ("grad", 1, 1, 1.0),
    ]
    assert [row.resolved for row in found] == [True, True, True, False, True, True]


def test_the_profile_is_the_log_spectrum_at_eight_places() -> None:
    powers = tuple(10.0**-k for k in range(16))
    (row,) = spectrum(stats(layer("fc", diagonal(*powers))))
    assert row.profile_input[:7] == pytest.approx((0, -2, -4, -6, -9, -11, -13), abs=0.01)
    assert row.profile_input[7] is None


def test_an_embedding_has_the_numbers_of_its_diagonal_as_a_matrix() -> None:
    frequencies = np.array([0.5, 0.25, 0.15, 0.1])
    table = layer("wte", frequencies, GRAD, kind="embedding")
    matrix = layer("wte", np.diag(frequencies), GRAD, kind="embedding")
    (one,), (other,) = (spectrum(stats(item), percent=(100, 50)) for item in (table, matrix))
    assert one.rank_input == other.rank_input
    for name in ("lambda_max_input", "lambda_max", "effective_rank_input"):
        assert getattr(one, name) == pytest.approx(getattr(other, name))
    for percent in ("100", "50"):
        assert one.kappa[percent].value == pytest.approx(other.kappa[percent].value)


def test_tokens_that_never_occurred_leave_the_condition_number_infinite() -> None:
    table = layer("wte", np.array([0.5, 0.5, 0.0]), GRAD, kind="embedding")
    (row,) = spectrum(stats(table), percent=(100, 50))
    assert row.kappa_input["100"].value == np.inf
    assert row.kappa_input["50"].value == pytest.approx(1)
    assert row.rank_input == Rank(value=2, ceiling=2, size=3)

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from condcli.analysis.domination import DOMINATION_THRESHOLD, domination
from condcli.errors import InputError, UsageError
from tests.synthetic import layer, stats


def with_sigmas(weight: float, grad: float, **changes: Any) -> Any:
    return layer(
        weight_singular_values=np.array([weight, weight / 2]),
        weight_grad_singular_values=np.array([grad, grad / 2]),
        **changes,
    )


@pytest.mark.parametrize(("grad", "dominated"), [(2e-3, False), (1.9e-3, True), (0.0, True)])
def test_a_layer_is_dominated_below_the_threshold(grad: float, dominated: bool) -> None:
    (row,) = domination(stats(with_sigmas(2.0, grad)), threshold=1e-3)
    assert (row.sigma_max_weight, row.sigma_max_grad) == (2.0, grad)
    assert row.ratio == pytest.approx(grad / 2)
    assert row.dominated is dominated


def test_the_default_threshold_moves_sigma_max_by_under_one_percent_in_1000_steps_at_lr_0_1() -> (
    None
):
    (row,) = domination(stats(with_sigmas(1.0, 0.999 * DOMINATION_THRESHOLD)), lr=0.1)
    assert row.dominated
    assert row.relative_update is not None
    assert 1000 * row.relative_update < 0.01


def test_the_relative_update_bounds_what_a_step_does_to_the_largest_singular_value() -> None:
    rng = np.random.default_rng(0)
    weight, grad = rng.standard_normal((2, 5, 7))
    sigmas = [np.linalg.svd(matrix, compute_uv=False) for matrix in (weight, grad)]
    measured = layer(weight_singular_values=sigmas[0], weight_grad_singular_values=sigmas[1])
    (row,) = domination(stats(measured), lr=0.1)
    after = np.linalg.svd(weight - 0.1 * grad, compute_uv=False)[0]
    assert row.relative_update is not None
    assert 0 < abs(after - sigmas[0][0]) / sigmas[0][0] <= row.relative_update


def test_without_a_learning_rate_there_is_no_update() -> None:
    assert domination(stats(layer()))[0].relative_update is None


def test_a_zero_weight_is_not_dominated_and_has_no_ratio() -> None:
    (row,) = domination(stats(with_sigmas(0.0, 1.0)), lr=0.1)
    assert (row.ratio, row.relative_update, row.dominated) == (None, None, False)


def test_norms_and_the_per_example_moment_are_handed_on_with_the_note() -> None:
    measured, unmeasured = domination(
        stats(
            layer("a"),
            layer("b", weight_grad_moment_lambda_max=None, weight_grad_moment_note="too big"),
        )
    )
    assert measured.weight_norm == 5**0.5
    assert measured.weight_grad_norm == 0.0005**0.5
    assert (measured.grad_moment_lambda_max, measured.note) == (0.125, "")
    assert (unmeasured.grad_moment_lambda_max, unmeasured.note) == (None, "too big")


@pytest.mark.parametrize("which", ["weight_singular_values", "weight_grad_singular_values"])
def test_nan_weights_and_gradients_are_refused_by_the_layers_name(which: str) -> None:
    broken: Any = layer("fc3", **{which: np.array([np.nan, 1.0])})
    with pytest.raises(InputError, match="layer 'fc3': its weight or weight gradient holds NaN"):
        domination(stats(broken))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_threshold_or_learning_rate_that_is_not_positive_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match="threshold"):
        domination(stats(layer()), threshold=value)
    with pytest.raises(UsageError, match="learning rate"):
        domination(stats(layer()), lr=value)

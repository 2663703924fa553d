from __future__ import annotations

from itertools import combinations
from statistics import median

import numpy as np
import pytest

from condcli.analysis.decomposition import layer_spectra
from condcli.analysis.diagnosis import DEFAULTS, Finding
from condcli.analysis.diagnosis.depth import decades_over, depth_trends, theil_sen
from condcli.analysis.diagnosis.network import look_at
from condcli.stats import ProbeStats
from tests.synthetic import diagonal, layer, stats


def chain(inputs: list[float], gradients: list[float]) -> ProbeStats:
    """Layers with these λ_max of Σ_x and Σ_∇h."""
    pairs = zip(inputs, gradients, strict=True)
    return stats(
        *(
            layer(f"fc{k}", diagonal(x, x / 2), diagonal(g, g / 2), order=k)
            for k, (x, g) in enumerate(pairs)
        )
    )


def trends(inputs: list[float], gradients: list[float]) -> list[Finding]:
    return found(chain(inputs, gradients))


def found(whole: ProbeStats) -> list[Finding]:
    return list(depth_trends(look_at(whole, layer_spectra(whole)), DEFAULTS))


def test_the_slope_is_the_median_over_all_pairs() -> None:
    values = np.random.default_rng(0).standard_normal(23)
    slopes = [(values[j] - values[i]) / (j - i) for i, j in combinations(range(23), 2)]
    assert theil_sen(np.arange(23.0), values) == pytest.approx(median(slopes), rel=1e-14)


@pytest.mark.parametrize("factor", [0.1, 0.5, 3.0])
def test_a_chain_of_one_factor_has_the_decades_of_its_power(factor: float) -> None:
    values = [factor**k for k in range(12)]
    assert decades_over(values) == pytest.approx(11 * np.log10(factor))


@pytest.mark.parametrize(
    "values",
    [
        [1.0] * 10,
        [1e-9] * 5 + [1.0] * 5,  # a step
        [1e-9] * 3 + [1.0] * 2,
        [1e6, 1e4, 1e2, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],  # a slope that ends in a plateau
        [1e9, 1e-9, 1e9],  # too few
        [],
    ],
)
def test_levels_steps_and_plateaus_are_no_trend(values: list[float]) -> None:
    assert decades_over(values) == 0


def test_some_layers_of_another_scale_do_not_move_the_line() -> None:
    values = [10.0**-k for k in range(20)]
    values[4], values[13] = 1e10, 1e-40
    assert decades_over(values) == pytest.approx(-19, rel=0.1)


def test_where_a_signal_underflows_its_line_goes_on() -> None:
    values = [1e-4**k for k in range(8)] + [0.0] * 12
    assert decades_over(values) == pytest.approx(-4 * 19)


def test_a_gradient_that_falls_towards_the_input_vanishes() -> None:
    (finding,) = trends([1.0] * 12, [10.0 ** (k - 11) for k in range(12)])
    assert (finding.rule, finding.severity) == ("vanishing-gradient", "error")
    assert finding.layers == tuple(f"fc{k}" for k in range(12))
    assert finding.numbers["decades"] == pytest.approx(-11)
    assert finding.numbers["decades_per_layer"] == pytest.approx(-1)
    assert "from 1 at fc11 to 1e-11 at fc0" in finding.evidence


def test_a_gradient_that_grows_towards_the_input_explodes() -> None:
    (finding,) = trends([1.0] * 12, [10.0 ** ((11 - k) * 0.7) for k in range(12)])
    assert (finding.rule, finding.severity) == ("exploding-gradient", "warning")


@pytest.mark.parametrize(("factor", "rule"), [(0.1, "vanishing"), (10.0, "exploding")])
def test_activations_are_followed_forward(factor: float, rule: str) -> None:
    (finding,) = trends([factor**k for k in range(12)], [1.0] * 12)
    assert finding.rule == f"{rule}-activation"
    assert finding.numbers["decades"] == pytest.approx(11 * np.log10(factor))


def test_the_gradient_of_a_map_does_not_count_its_positions() -> None:
    """Stride and pooling spread one gradient over T places: λ falls as 1/T."""
    layers = [
        layer(
            f"conv{k}",
            diagonal(1.0, 0.5),
            diagonal(4.0 ** (k - 11), 4.0 ** (k - 12)),
            order=k,
            positions=4.0 ** (11 - k),
        )
        for k in range(12)
    ]
    assert found(stats(*layers)) == []


def test_the_order_is_that_of_the_forward_pass() -> None:
    whole = chain([1.0] * 12, [10.0 ** (k - 11) for k in range(12)])
    names = sorted(whole.layers, reverse=True)
    mixed = stats(*(whole.layers[name] for name in names))
    assert found(mixed) == found(whole) != []

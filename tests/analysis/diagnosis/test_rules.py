"""What each rule says of statistics with known answers, just above and just below its bounds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from condcli.analysis.decomposition import layer_spectra
from condcli.analysis.diagnosis import (
    DEFAULTS,
    RULE_NAMES,
    RULES,
    SEVERITIES,
    Finding,
    diagnose,
)
from condcli.analysis.diagnosis.network import look_at
from condcli.analysis.diagnosis.rules import CONSEQUENCES
from condcli.stats import NO_GRADIENT, LayerStats, ProbeStats, SkippedParameter
from tests.synthetic import activation, diagonal, layer, stats

CENTRED = {"input_mean": np.zeros(3)}


def usual(name: str = "fc", order: int = 0, **changes: Any) -> LayerStats:
    """A layer in which nothing is wrong."""
    values: dict[str, Any] = {"order": order, "input_mean": np.array([0.1, -0.1, 0.1])}
    return layer(name, **values | changes)


def net(*layers: LayerStats, **changes: Any) -> ProbeStats:
    return stats(*layers, **{"accuracy": 0.93, "chance": 0.1} | changes)


def named(whole: ProbeStats, rule: str, **bounds: float) -> list[Finding]:
    """The findings of this name before those that follow from others are put together."""
    network, thresholds = look_at(whole, layer_spectra(whole)), replace(DEFAULTS, **bounds)
    found = [item for each in RULES for item in each(network, thresholds)]
    assert {item.rule for item in found} <= set(RULE_NAMES)
    return [item for item in found if item.rule == rule]


def sigmas(weight: float, grad: float) -> dict[str, Any]:
    return {
        "weight_singular_values": np.array([weight]),
        "weight_grad_singular_values": np.array([grad]),
    }


def test_in_a_usual_network_nothing_is_found() -> None:
    assert diagnose(net(*(usual(f"fc{k}", k) for k in range(12)))) == []


def test_what_is_not_finite_is_an_error_that_names_the_first_layer() -> None:
    broken = usual("b", 1, input_moment=np.full((3, 3), np.nan), nonfinite="inputs, since batch 3")
    (found,) = named(net(usual("a"), broken, usual("c", 2)), "non-finite")
    assert (found.severity, found.layers) == ("error", ("b",))
    assert "first in b: inputs, since batch 3" in found.evidence


def test_a_loss_that_is_not_finite_is_one_too() -> None:
    assert named(net(usual(), loss=math.nan), "non-finite")[0].layers == ()


def test_layers_that_the_backward_pass_did_not_reach_are_named() -> None:
    skipped = tuple(
        SkippedParameter(name=name, kind="Linear", shape=(2, 2), parameters=4, reason=reason)
        for name, reason in [("a", f"{NO_GRADIENT}: why"), ("b", "did not run")]
    )
    (found,) = named(stats(usual(), skipped=skipped), "no-gradient")
    assert found.layers == ("a",)


def test_a_gradient_of_zero_is_an_error() -> None:
    zero = usual("dead", 1, grad_moment=np.zeros((2, 2)))
    (found,) = named(net(usual(), zero), "zero-gradient")
    assert (found.severity, found.layers) == ("error", ("dead",))
    assert "Look just above" in found.remedy
    (everywhere,) = named(net(zero), "zero-gradient")
    assert "The loss itself" in everywhere.remedy


@pytest.mark.parametrize(("size", "found"), [(9.9, False), (10.1, True)])
def test_an_input_larger_than_the_bound_is_not_normalised(size: float, found: bool) -> None:
    moment = diagonal(size**2, size**2, size**2)
    first = usual("first", input_moment=moment, **CENTRED)
    assert bool(named(net(first, usual("b", 1)), "unnormalised-input")) == found
    later = usual("later", 1, input_moment=moment, **CENTRED)
    assert named(net(usual(), later), "unnormalised-input") == []


def test_tokens_are_no_input_to_be_normalised() -> None:
    shares = np.array([0.5, 0.5])
    table = usual("wte", kind="embedding", input_moment=shares, input_mean=shares)
    large = usual("fc", 1, input_moment=diagonal(1e6, 1e6, 1e6), **CENTRED)
    assert named(net(table, large), "unnormalised-input") == []


def alike(d: int, copies: int) -> dict[str, Any]:
    """An input of which the last features repeat the first."""
    rows = np.random.default_rng(0).standard_normal((500, d))
    rows[:, d - copies :] = rows[:, :copies]
    return {"input_moment": rows.T @ rows / 500, "input_mean": rows.mean(axis=0)}


def test_a_repeated_feature_of_the_data_is_a_warning() -> None:
    (found,) = named(net(usual("first", **alike(8, 1)), usual("b", 1)), "duplicated-features")
    assert (found.layers, found.severity) == (("first",), "warning")
    assert found.evidence.endswith("7 of 0")
    few = usual("first", rows=20, input_rows=20, **alike(8, 1))
    assert named(net(few), "duplicated-features") == []


@pytest.mark.parametrize(
    ("d", "copies", "severity"),
    [(8, 1, None), (30, 3, None), (30, 4, "warning"), (8, 4, "error")],
)
def test_hidden_units_that_are_copies_are_judged_by_their_share(
    d: int, copies: int, severity: str | None
) -> None:
    found = named(net(usual(), usual("b", 1, **alike(d, copies))), "duplicated-units")
    assert [item.severity for item in found] == ([severity] if severity else [])


@pytest.mark.parametrize(("ratio", "found"), [(0.9e-4, True), (1.1e-4, False)])
def test_a_layer_far_below_the_others_is_dominated(ratio: float, found: bool) -> None:
    layers = [usual("stuck", **sigmas(1.0, ratio)), usual("free", 1, **sigmas(1.0, 0.1))]
    (finding,) = named(net(*layers), "weight-domination") or (None,)
    assert (finding is not None) == found
    if finding is not None:
        assert (finding.severity, finding.layers) == ("error", ("stuck",))
        assert finding.numbers["least_ratio"] == pytest.approx(ratio)


@pytest.mark.parametrize(("loss", "found"), [(0.01, 0), (0.5, 1)])
def test_where_all_layers_are_it_depends_on_what_is_left_to_learn(loss: float, found: int) -> None:
    layers = [usual(f"fc{k}", k, **sigmas(1.0, 1e-5)) for k in range(3)]
    assert len(named(net(*layers, loss=loss), "weight-domination")) == found


def test_in_a_fitted_network_it_is_worth_a_note() -> None:
    layers = [usual("stuck", **sigmas(1.0, 1e-9)), usual("free", 1, **sigmas(1.0, 0.1))]
    assert named(net(*layers, loss=0.01), "weight-domination")[0].severity == "note"
    assert named(net(*layers, accuracy=0.99), "weight-domination")[0].severity == "note"


def test_a_gradient_of_zero_is_no_domination() -> None:
    layers = [usual("zero", **sigmas(1.0, 0.0)), usual("free", 1, **sigmas(1.0, 0.1))]
    assert named(net(*layers), "weight-domination") == []


def test_an_input_of_zeros_is_a_note() -> None:
    zero = usual("weight_hh", 1, input_moment=np.zeros((3, 3)), input_mean=np.zeros(3))
    (found,) = named(net(usual(), zero), "zero-input")
    assert (found.severity, found.layers) == ("note", ("weight_hh",))


def test_a_layer_a_little_below_the_others_is_not() -> None:
    layers = [usual("a", **sigmas(1.0, 0.9e-4)), usual("b", 1, **sigmas(1.0, 2e-3))]
    assert named(net(*layers), "weight-domination") == []


@pytest.mark.parametrize(
    ("dying", "severity"), [(32, None), (33, "warning"), (74, "warning"), (75, "error")]
)
def test_dying_units_are_judged_by_their_share(dying: int, severity: str | None) -> None:
    counts = np.array([0] * dying + [40] * (100 - dying))
    item = activation(units=100, active_count=counts)
    found = named(stats(usual(), activations=(item,)), "dying-neurons")
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    assert all(finding.numbers["dying"] == dying for finding in found)


@pytest.mark.parametrize(("dying", "found"), [(74, False), (75, True)])
def test_units_that_leak_are_not_dead_and_take_more_to_be_worth_a_word(
    dying: int, found: bool
) -> None:
    counts = np.array([0] * dying + [40] * (100 - dying))
    item = activation(function="gelu", units=100, active_count=counts)
    whole = stats(usual(), activations=(item,))
    assert named(whole, "dying-neurons") == []
    assert [each.severity for each in named(whole, "leaking-neurons")] == ["warning"] * found


def test_full_units_are_found_and_those_of_other_functions_are_not() -> None:
    always = np.full(10, 100)
    items = [
        activation("relu", units=10, active_count=always),
        activation("soft", function="softplus", units=10, active_count=always),
    ]
    (found,) = named(stats(usual(), activations=tuple(items)), "full-neurons")
    assert found.layers == ("relu",)


def test_saturated_units_are_found_but_for_those_of_the_output() -> None:
    items = [
        activation(
            name,
            function="sigmoid",
            order=order,
            units=10,
            active_count=np.full(10, 100),
            saturated_count=np.full(10, 81),
        )
        for order, name in enumerate(["gate", "output"])
    ]
    head = usual("head", 1, grad_moment=diagonal(*np.ones(10)))
    (found,) = named(stats(usual(), head, activations=tuple(items)), "saturated-neurons")
    assert found.layers == ("gate",)
    assert found.numbers["share"] == pytest.approx(0.81)


def points(share: float) -> dict[str, Any]:
    """An input of which so much of the square varies."""
    mean = np.ones(3)
    covariance = diagonal(1.0, 1.0, 1.0) * share / (1 - share)
    return {"input_moment": np.outer(mean, mean) + covariance, "input_mean": mean}


@pytest.mark.parametrize(("share", "found"), [(2e-3, False), (0.9e-3, True)])
def test_inputs_that_are_nearly_one_point_have_collapsed(share: float, found: bool) -> None:
    layers = [usual("a"), usual("b", 1, **points(share)), *(usual(f"c{k}", k) for k in (2, 3))]
    (finding,) = named(net(*layers), "rank-collapse") or (None,)
    assert (finding is not None) == found
    if finding is not None:
        assert (finding.layers, finding.severity) == (("b",), "warning")
        assert finding.numbers["varying_share"] == pytest.approx(share, rel=1e-6)
    assert named(net(usual("first", **points(share))), "rank-collapse") == []


def test_inputs_along_a_line_have_collapsed_where_there_are_many_outputs() -> None:
    line = {
        "input_moment": diagonal(1.0, *np.full(19, 1e-4)),
        "input_mean": np.zeros(20),
        "grad_moment": diagonal(*np.ones(4)),
    }
    (found,) = named(net(usual(), usual("b", 1, **line)), "rank-collapse-line")
    eigenvalues = np.array([1.0, *np.full(19, 1e-4)])
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert found.numbers["directions"] == pytest.approx(expected)
    binary = line | {"grad_moment": diagonal(1.0, 1.0)}
    assert named(net(usual(), usual("b", 1, **binary)), "rank-collapse-line") == []


def test_an_ill_conditioned_layer_is_told_with_its_kappa_and_the_median() -> None:
    values = np.append(np.ones(3), np.full(7, 0.9e-4))
    bad = usual("bad", 1, input_moment=diagonal(*values), input_mean=np.zeros(10))
    (found,) = named(net(usual(), bad, usual("c", 2)), "ill-conditioned-input")
    assert (found.severity, found.layers) == ("warning", ("bad",))
    assert found.numbers["kappa"] == pytest.approx(1 / 0.9e-4)
    assert found.numbers["median_kappa"] == pytest.approx(2.0)  # 4, 2, 1: the second of three
    assert found.numbers["correlated"] == 1


@pytest.mark.parametrize(("least", "found"), [(1.1e-3, False), (0.9e-3, True)])
def test_a_layer_far_above_the_median_is_ill_conditioned_too(least: float, found: bool) -> None:
    """A thousand times a median of 1."""
    level = {"input_moment": np.eye(4), "input_mean": np.zeros(4)}
    apart = usual("apart", 2, **level | {"input_moment": diagonal(1.0, least, least, least)})
    whole = net(usual("a", **level), usual("b", 1, **level), apart)
    assert bool(named(whole, "ill-conditioned-input")) == found


def test_few_directions_of_the_gradient_are_no_fault_but_for_silent_units() -> None:
    steep = diagonal(1.0, *np.full(7, 1e-5))
    layers = [usual(f"fc{k}", k, grad_moment=steep) for k in range(3)]
    assert named(net(*layers), "ill-conditioned-gradient") == []
    silent = np.zeros((8, 8))
    silent[:3, :3] = np.eye(3)
    (found,) = named(net(*layers, usual("s", 3, grad_moment=silent)), "ill-conditioned-gradient")
    assert (found.layers, found.numbers["silent"]) == (("s",), 1)


def test_silent_units_are_the_cause_where_the_others_are_well_conditioned() -> None:
    moment = np.zeros((10, 10))
    moment[:4, :4] = np.diag([4.0, 3.0, 2.0, 1.0])
    dead = usual("dead", 1, input_moment=moment, input_mean=np.zeros(10))
    (found,) = named(net(usual(), dead), "ill-conditioned-input")
    assert found.numbers["silent"] == 1
    assert found.numbers["kappa"] == math.inf
    assert "(1.3 without it)" in found.evidence


def test_the_mean_is_the_cause_where_the_covariance_is_better_conditioned() -> None:
    mean = np.full(10, 10.0)
    moment = np.outer(mean, mean) + np.diag(np.linspace(2.0, 1.0, 10) * 1e-2)
    centred = usual("raw", 1, input_moment=moment, input_mean=mean)
    (found,) = named(net(usual(), centred), "ill-conditioned-input")
    assert found.numbers["mean"] == 1
    assert "Centre" in found.remedy


def test_too_few_rows_are_a_note_and_no_fault() -> None:
    rows = np.random.default_rng(0).standard_normal((4, 10))
    few = usual(
        "few",
        1,
        input_moment=rows.T @ rows / 4,
        input_mean=rows.mean(axis=0),
        rows=4,
        input_rows=4,
    )
    (found,) = diagnose(net(usual(), few))
    assert (found.rule, found.severity, found.layers) == ("too-few-rows-input", "note", ("few",))


def last(mean: float, **changes: Any) -> LayerStats:
    moment = np.full((3, 3), mean**2) + 0.1 * np.eye(3)
    return usual("head", 5, input_moment=moment, input_mean=np.full(3, mean), **changes)


@pytest.mark.parametrize(
    ("mean", "ratio", "found"), [(10.0, 5.0, True), (10.0, 0.5, False), (0.05, 5.0, False)]
)
def test_a_last_layer_of_large_mean_and_gradient_is_about_to_be_spoilt(
    mean: float, ratio: float, found: bool
) -> None:
    whole = net(usual(), last(mean, **sigmas(1.0, ratio)), loss=5.0)
    assert [item.layers for item in named(whole, "last-layer-input")] == [("head",)] * found
    better = net(usual(), last(mean, **sigmas(1.0, ratio)), loss=0.6)  # than ln 2
    assert named(better, "last-layer-input") == []
    selected = net(usual(), last(mean, **sigmas(1.0, ratio)), loss=5.0, selected="fc*")
    assert named(selected, "last-layer-input") == []


def test_a_last_layer_behind_a_vanished_input_is_stuck_where_the_network_guesses() -> None:
    layers = (usual(), last(0.01, **sigmas(20.0, 0.01)))
    shrunk = replace(layers[1], input_moment=1e-3 * layers[1].input_moment)
    guessing = {"accuracy": 0.1, "chance": 0.1, "loss": 2.3}
    (found,) = named(net(layers[0], shrunk, **guessing), "last-layer-stuck")
    assert found.numbers["weight_over_median"] == pytest.approx(10)
    assert named(net(layers[0], shrunk), "last-layer-stuck") == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"accuracy": 0.1}, True),
        ({"accuracy": 0.3}, False),
        ({"accuracy": 0.1, "step": 10}, False),
        ({"accuracy": 0.1, "step": 1000}, True),
        ({"accuracy": None, "chance": None}, False),
        ({"accuracy": 0.1, "data_source": "random:1x8x8"}, False),
    ],
)
def test_a_trained_network_that_guesses_is_found(changes: dict[str, Any], found: bool) -> None:
    assert bool(named(net(usual(), **changes), "chance-accuracy")) == found


@pytest.mark.parametrize(("loss", "severity"), [(0.61, "note"), (0.63, "error")])
def test_where_the_loss_says_more_than_the_accuracy_it_is_a_note(
    loss: float, severity: str
) -> None:
    """Nine tenths of ln 2 are 0.624."""
    (found,) = named(net(usual(), accuracy=0.9, chance=0.9, loss=loss), "chance-accuracy")
    assert found.severity == severity


@pytest.mark.parametrize(("flat", "found"), [(1.0, True), (0.3, False)])
def test_errors_that_are_even_are_those_of_wrong_labels(flat: float, found: bool) -> None:
    basis, _ = np.linalg.qr(np.column_stack([np.ones(5), np.eye(5)[:, :4]]))
    moment = (basis[:, 1:] * np.array([1.0, 1.0, flat, flat**2])) @ basis[:, 1:].T
    whole = net(usual(), usual("head", 1, grad_moment=moment), accuracy=0.7)
    assert bool(named(whole, "even-errors")) == found
    whole = net(usual(), usual("head", 1, grad_moment=moment), accuracy=0.7, fisher="exact")
    assert not named(whole, "even-errors")


def test_what_follows_from_a_finding_is_told_there_and_makes_it_as_severe() -> None:
    counts = np.array([0] * 4 + [40] * 6)
    dead = usual("dead", 1, grad_moment=np.zeros((2, 2)))
    whole = stats(usual(), dead, activations=(activation(units=10, active_count=counts),))
    (found,) = diagnose(whole)
    assert (found.rule, found.severity) == ("dying-neurons", "error")
    assert found.evidence.endswith("; with it: the gradient is zero on every row")


def test_the_worst_comes_first_and_causes_before_what_they_bring_about() -> None:
    large = usual("large", input_moment=diagonal(900.0, 800.0, 700.0), **CENTRED)
    broken = usual("b", 1, grad_moment=np.full((2, 2), np.nan), nonfinite="gradients")
    severities = [item.severity for item in diagnose(net(large, broken))]
    assert severities == sorted(severities, key=SEVERITIES.index)
    assert len(severities) == 2


def test_every_rule_that_something_follows_from_exists_and_comes_before_it() -> None:
    order = {name: place for place, name in enumerate(RULE_NAMES)}
    for cause, consequences in CONSEQUENCES.items():
        assert consequences <= set(order)
        for name in consequences - {"zero-gradient", "zero-input"}:
            assert order[cause] < order[name]
        assert cause not in consequences
    assert not {"zero-gradient", "zero-input"} & {*CONSEQUENCES["zero-gradient"]}

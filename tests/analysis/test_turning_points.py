"""Synthetic runs with known turning points."""

from __future__ import annotations

from typing import Any

import pytest

from condcli.analysis.metrics import METRICS, NETWORK, series
from condcli.analysis.trajectory import Point
from condcli.analysis.turning_groups import told
from condcli.analysis.turning_points import short, turning_points
from tests.runs import kappa, points

STEPS = [0, 100, 200, 300, 400, 500, 600, 700]


def found(run: list[Point], **options: Any) -> list[tuple[int, str, str]]:
    return [(each.step, each.name, each.what) for each in turning_points(run, **options)]


def test_domination_is_told_with_what_came_before_it() -> None:
    norm = [1.0, 1.0, 1.0, 8.0, 8.0, 8.0, 8.0, 8.0]
    grad = [1e-2, 1e-2, 1e-2, 1e-2, 1e-2, 1e-4, 1e-4, 1e-4]
    ratio = [g / n for g, n in zip(grad, norm, strict=True)]
    curves = {"ratio": ratio, "weight_norm": norm, "sigma_max_grad": grad}
    run = points(STEPS, {"fc1": {}, "layer 12": curves})
    assert found(run) == [
        (300, "layer 12", "weight norm rises 8-fold, 1 to 8"),
        (
            500,
            "layer 12",
            "enters weight domination, 200 steps after its weight norm rose 8-fold, "
            "as its gradient fell 100-fold",
        ),
    ]
    entered = turning_points(run)[1]
    assert (entered.event, entered.metric) == ("gets-dominated", "ratio")
    assert (entered.before, entered.after) == (ratio[4], ratio[5])


def test_domination_by_a_gradient_of_zero_is_said_so() -> None:
    grad = [1e-2, 1e-2, 1e-2, 0.0, 0.0, 0.0, 0.0, 0.0]
    run = points(STEPS, {"fc": {"ratio": grad, "sigma_max_grad": grad}})
    assert (300, "fc", "enters weight domination, with a gradient of zero") in found(run)


def test_what_moved_back_or_before_is_no_cause() -> None:
    norm = [1.0, 4.0, 4.0, 1.0, 1.0, 1.0, 1.0, 1.0]  # up and down, long before
    grad = [1e-2, 1e-2, 1e-2, 1e-2, 1e-2, 1e-6, 1e-6, 1e-6]
    run = points(STEPS, {"fc": {"ratio": grad, "sigma_max_grad": grad, "weight_norm": norm}})
    (entered,) = [each for each in turning_points(run) if each.event == "gets-dominated"]
    assert entered.what == "enters weight domination, as its gradient fell 1e4-fold"


def test_domination_from_the_start_and_its_end_are_told() -> None:
    ratio = [1e-6, 1e-6, 1e-6, 1e-6, 1.5e-4, 1e-2, 1e-2, 1e-2]
    assert found(points(STEPS, {"fc": {"ratio": ratio}})) == [
        (0, "fc", "is in weight domination from the start"),
        (500, "fc", "leaves weight domination"),  # not at 400: not twice the threshold
    ]


def test_the_threshold_is_the_callers() -> None:
    run = points(STEPS, {"fc": {"ratio": [0.5] * 4 + [0.04] * 4}})
    assert found(run) == []
    ((step, name, what),) = found(run, threshold=0.05)
    assert (step, name, what.split(",")[0]) == (400, "fc", "enters weight domination")


def test_a_single_file_below_the_threshold_is_none() -> None:
    assert found(points(STEPS, {"fc": {"ratio": [1, 1, 1, 1e-9, 1, 1, 1, 1]}})) == []


def test_the_loss_and_its_turn_are_told() -> None:
    run = points(STEPS, loss=[2.0, 1.0, 0.5, 0.5, 2.0, 2.0, 2.0, 2.0])
    assert found(run) == [
        (200, NETWORK, "loss falls 4-fold, 2 to 0.5"),
        (400, NETWORK, "loss rises 4-fold, 0.5 to 2"),
    ]
    assert [each.since for each in turning_points(run)] == [0, 300]


def test_what_is_no_longer_finite_is_told_once_and_only_if_it_stays_so() -> None:
    nan = None
    run = points(STEPS, loss=[1, 1, nan, 1, 1, nan, nan, nan])
    assert found(run) == [(500, NETWORK, "loss is unknown from here on")]
    run = points(STEPS, {"fc": {"kappa": [2.0] * 6 + [float("inf")] * 2}})
    assert found(run) == [(600, "fc", "condition number is infinite from here on")]
    run = points(STEPS, {"fc": {"kappa": [kappa(None)] * 8, "lambda_max_input": [None] * 8}})
    assert found(run) == []


def test_neurons_are_told_above_a_tenth_and_below_a_twentieth() -> None:
    dying = [0.0, 0.0, 0.09, 0.3, 0.3, 0.08, 0.04, 0.0]
    run = points(STEPS, activations={"relu": {"dying": dying}})
    assert found(run) == [
        (300, "relu", "dying neurons pass 10 % of the units: 30 %"),
        (600, "relu", "dying neurons are back from 10 % of the units: 4 %"),
    ]
    assert found(points(STEPS, activations={"relu": {"full": [0.5] * 8}})) == []


def test_one_metric_alone_has_its_own_turning_points() -> None:
    run = points(STEPS, {"fc": {"sigma_max_grad": [1.0] * 4 + [100.0] * 4, "ratio": [1e-9] * 8}})
    assert found(run, metrics=["sigma_max_grad"]) == [
        (400, "fc", "σ_max(∂L/∂W) rises 100-fold, 1 to 100")
    ]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_series_and_turning_points(name: str) -> None:
    run = points(STEPS, {"fc": {}}, {"relu": {"saturated": [0.5] * 8}})
    (curve,) = series(run, name).values()
    assert len(curve) == 8
    assert all(value is not None for value in curve)
    assert turning_points(run, metrics=[name]) == []


def test_a_run_of_one_file_has_no_turning_points() -> None:
    assert found(points([7], {"fc": {}}, {"relu": {}})) == []
    assert found(points([7])) == []


def test_layers_that_turn_together_are_told_together() -> None:
    late = [1.0] * 6 + [9.0] * 2
    curves = {
        f"fc{k}": {"weight_norm": [1.0, 1.0, 1.0, float(k), *[float(k)] * 4]} for k in range(4, 9)
    }
    run = points(STEPS, {"fc0": {}, **curves, "head": {"weight_norm": late}})
    names = ["network", *run[0].layers]
    assert told(turning_points(run), STEPS, names) == {
        "step 300": "fc4 … fc8 (5): weight norm rises 4- to 8-fold between steps 200 and 300",
        "step 600": "head: weight norm rises 9-fold, 1 to 9, between steps 500 and 600",
    }


def test_several_layers_enter_domination_in_one_sentence() -> None:
    def falls_at(place: int) -> dict[str, list[float]]:
        grad = [1.0] * place + [1e-6] * (8 - place)
        return {"ratio": grad, "sigma_max_grad": grad}

    run = points(STEPS, {"a": falls_at(4), "b": falls_at(3), "c": {}})
    assert told(turning_points(run), STEPS, ["network", "a", "b", "c"]) == {
        "steps 300 to 400": "a, b: enter weight domination at steps 300 to 400; "
        "first b enters weight domination, as its gradient fell 1e6-fold"
    }


def test_one_layer_that_turns_again_is_told_again() -> None:
    steps = list(range(40))
    ratio = ([1.0] * 4 + [1e-6] * 2) * 6 + [1.0] * 4
    found = turning_points(points(steps, {"fc": {"ratio": ratio}}))
    assert len(found) == 12
    sentences = told(found, steps, ["network", "fc"])
    assert sentences["step 4"] == "fc: enters weight domination"
    assert sentences["step 6"] == "fc: leaves weight domination"
    assert not any("enter weight" in sentence for sentence in sentences.values())


def test_of_a_long_name_both_ends_are_told() -> None:
    name = "begin." + "x" * 10_000 + ".end"
    run = points(STEPS, {name: {"weight_norm": [1.0] * 4 + [8.0] * 4}})
    (sentence,) = told(turning_points(run), STEPS, ["network", name]).values()
    assert sentence.startswith("begin.xxx")
    assert "xxx.end: weight norm rises 8-fold" in sentence
    assert len(sentence) < 200


def test_of_many_the_gravest_are_told_and_the_rest_is_counted() -> None:
    def moved(place: int) -> dict[str, list[float]]:
        rises = [1.0] * place + [99.0] * (60 - place)
        return {"weight_norm": rises, "lambda_max_input": rises}

    steps = list(range(60))
    layers = {f"fc{k}": moved(k) for k in range(1, 59, 7)}  # nine
    layers["bad"] = {"ratio": [1.0] * 40 + [1e-9] * 20}
    sentences = told(turning_points(points(steps, layers)), steps, ["network", *layers])
    assert sentences["step 40"] == "bad: enters weight domination"
    assert sentences["step 1"] == "fc1: weight norm rises 99-fold, 1 to 99, between steps 0 and 1"
    assert sentences["more"] == "9 more with --turning-points"
    assert len(sentences) == 11


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7.2111, "7.2"),
        (230.4, "230"),
        (9999, "1e4"),
        (61234, "6.1e4"),
        (0.01234, "0.012"),
        (1.2e-7, "1.2e-7"),
        (0, "0"),
        (16, "16"),
    ],
)
def test_numbers_in_sentences_are_short(value: float, text: str) -> None:
    assert short(value) == text

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from condcli.analysis.defaults import METRIC_NAMES
from condcli.analysis.dynamics import (
    dynamics,
    metric_rows,
    selected,
    step_metric_rows,
    step_rows,
)
from condcli.analysis.metrics import METRICS
from condcli.analysis.turning_points import turning_points
from condcli.errors import UsageError
from condcli.output.export.arrays import arrays_of
from tests.runs import kappa, points

STEPS = [0, 10, 20]
RUN = points(
    STEPS,
    {
        "fc1": {"ratio": [0.5, 0.1, 0.2], "kappa": [3.0, kappa(None), 9.0]},
        "fc2": {"ratio": [0.0, None, 0.4], "weight_norm": [1.0, 2.0, 4.0]},
    },
    {"relu": {"dying": [0.0, 0.25, 0.5]}},
    loss=[2.0, 1.0, None],
)


def test_every_metric_has_the_name_that_options_know() -> None:
    assert tuple(METRICS) == METRIC_NAMES


def test_each_layer_has_its_curves_and_their_ends() -> None:
    first, second = dynamics(RUN)
    assert (first.layer, first.kind) == ("fc1", "linear")
    assert first.ratio_curve == (0.5, 0.1, 0.2)
    assert (first.ratio_first, first.ratio_last) == (0.5, 0.2)
    assert first.kappa_curve == (3.0, None, 9.0)
    assert (first.kappa_first.value, first.kappa_last.value) == (3.0, 9.0)
    assert (second.weight_norm_first, second.weight_norm_last) == (1.0, 4.0)


def test_a_metric_has_its_ends_extremes_and_their_steps() -> None:
    first, second = metric_rows(RUN, "ratio")
    assert (first.first, first.last, first.change) == (0.5, 0.2, 0.4)
    assert (first.least, first.least_step, first.most, first.most_step) == (0.1, 10, 0.5, 0)
    assert (second.first, second.last, second.change) == (0.0, 0.4, None)
    assert (second.least, second.most_step) == (0.0, 20)
    (loss,) = metric_rows(RUN, "loss")
    assert (loss.name, loss.last, loss.change, loss.least_step) == ("network", None, None, 10)
    (relu,) = metric_rows(RUN, "dying")
    assert (relu.name, relu.most, relu.most_step) == ("relu", 0.5, 20)


def test_a_metric_that_is_never_known_has_no_extremes() -> None:
    (row,) = metric_rows(points(STEPS, {"fc": {"ratio": [None] * 3}}), "ratio")
    assert (row.first, row.least, row.least_step, row.most) == (None, None, None, None)


def test_the_long_form_has_a_row_a_step_and_layer() -> None:
    rows = step_rows(RUN)
    assert [(row.step, row.layer) for row in rows] == [
        (step, name) for step in STEPS for name in ("fc1", "fc2")
    ]
    assert [row.ratio for row in rows] == [0.5, 0.0, 0.1, None, 0.2, 0.4]
    assert [row.loss for row in rows] == [2.0, 2.0, 1.0, 1.0, None, None]
    found = step_metric_rows(RUN, "dying")
    assert [(row.step, row.name, row.metric, row.value) for row in found] == [
        (0, "relu", "dying", 0.0),
        (10, "relu", "dying", 0.25),
        (20, "relu", "dying", 0.5),
    ]


def test_a_glob_selects_and_one_that_matches_nothing_is_refused() -> None:
    assert [row.layer for row in dynamics(RUN, pattern="*2")] == ["fc2"]
    assert [row.layer for row in step_rows(RUN, pattern="*2")] == ["fc2"] * 3
    with pytest.raises(UsageError, match="no name matches 'conv'; the names are fc1, fc2 …"):
        metric_rows(RUN, "ratio", pattern="conv")


def test_a_network_without_layers_has_no_rows() -> None:
    assert dynamics(points(STEPS)) == []
    assert step_rows(points(STEPS)) == []
    assert selected({}, None) == []


def test_a_layer_that_some_steps_lack_has_gaps_there_and_keeps_its_place() -> None:
    run = [replace(point, layers=dict(point.layers)) for point in RUN]
    del run[0].layers["fc1"], run[2].layers["fc2"]  # type: ignore[attr-defined]
    first, second = dynamics(run)
    assert (first.layer, first.ratio_curve, first.ratio_first) == ("fc1", (None, 0.1, 0.2), 0.1)
    assert (second.layer, second.weight_norm_curve) == ("fc2", (1.0, 2.0, None))
    assert second.weight_norm_last == 2.0
    assert [(row.step, row.layer) for row in step_rows(run)] == [
        (0, "fc2"),
        (10, "fc1"),
        (10, "fc2"),
        (20, "fc1"),
    ]
    assert [row.first for row in metric_rows(run, "ratio")] == [None, 0.0]
    assert [each.name for each in turning_points(run) if each.event == "gets-unknown"] == [
        "network"
    ]
    arrays = arrays_of(run)
    assert np.isnan(arrays["kappa"]).tolist() == [[True, False], [True, False], [False, True]]
    assert not arrays["kappa_is_lower_bound"].any()

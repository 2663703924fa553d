from __future__ import annotations

import numpy as np

from condcli.analysis.contents import contents, skipped
from condcli.stats import SkippedParameter
from tests.synthetic import activation, layer, stats


def test_layers_come_before_activations_with_their_sizes() -> None:
    first, second = contents(stats(layer(), activations=(activation(),)))
    assert (first.name, first.section, first.kind, first.status) == ("fc", "layers", "linear", "ok")
    assert (first.rows, first.d_in, first.d_out, first.groups, first.calls) == (1000, 3, 2, 1, 1)
    assert (second.name, second.section, second.kind) == ("act", "activations", "relu")
    assert (second.rows, second.d_in, second.d_out) == (100, None, 4)


def test_what_is_not_finite_is_named() -> None:
    broken = layer(grad_moment=np.full((2, 2), np.nan), input_mean=np.array([0.0, np.inf, 0.0]))
    (row,) = contents(stats(broken))
    assert row.status == "not finite: input_mean, grad_moment"


def test_what_was_skipped_for_one_reason_takes_one_line() -> None:
    vectors = tuple(
        SkippedParameter(
            name=f"bn{i}.weight", kind="BatchNorm2d", shape=(4,), parameters=4, reason="a vector"
        )
        for i in range(100)
    )
    idle = SkippedParameter(
        name="idle", kind="Linear", shape=(3, 2), parameters=9, reason="did not run"
    )
    assert skipped(stats(skipped=(*vectors, idle))) == {
        "skipped bn0.weight, …": "100 of BatchNorm2d, 400 parameters: a vector",
        "skipped idle": "Linear, 9 parameters: did not run",
    }

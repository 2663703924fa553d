from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from condcli.analysis.compare_neurons import CompareNeuronsRow, compare_neurons
from condcli.analysis.neurons import neurons
from condcli.stats import ActivationStats, ProbeStats
from tests.synthetic import activation, stats


def act(name: str, *active_count: int, **changes: Any) -> ActivationStats:
    counts = {"units": len(active_count), "active_count": np.array(active_count)}
    return activation(name, **counts, **changes)


def compared(first: list[ActivationStats], then: list[ActivationStats]) -> list[CompareNeuronsRow]:
    return compare_neurons(stats(activations=tuple(first)), stats(activations=tuple(then)))


def test_the_shares_are_those_of_neurons() -> None:
    saturated = {"function": "sigmoid", "saturated_count": np.array([100, 20, 0, 0])}
    first = [act("relu", 0, 0, 100, 5), act("gate", 1, 2, 3, 4, **saturated)]
    then = [act("relu", 0, 100, 100, 5), act("gate", 1, 2, 3, 4, **saturated)]
    found = {row.activation: row for row in compared(first, then)}
    for side, whole in (("first", first), ("then", then)):
        for row in neurons(stats(activations=tuple(whole))):
            other = found[row.activation]
            assert getattr(other, f"dying_{side}") == row.dying_share
            assert getattr(other, f"full_{side}") == row.full_share
            assert getattr(other, f"saturated_{side}") == row.saturated_share
    assert found["gate"].dying_first is None
    assert found["gate"].saturated_then == pytest.approx(120 / 400)


def test_the_largest_change_of_a_share_comes_first_up_or_down() -> None:
    names = ["same", "one more", "filled", "revived"]
    before = [(0, 1, 2, 3), (0, 1, 2, 3), (1, 1, 1, 1), (0, 0, 0, 0)]
    after = [(0, 5, 6, 7), (0, 0, 2, 3), (100, 100, 1, 1), (9, 9, 9, 0)]
    rows = compared(
        [act(name, *counts) for name, counts in zip(names, before, strict=True)],
        [act(name, *counts) for name, counts in zip(names, after, strict=True)],
    )
    assert [(row.activation, row.most, row.by) for row in rows] == [
        ("revived", "dying", -0.75),
        ("filled", "full", 0.5),
        ("one more", "dying", 0.25),
        ("same", "", None),
    ]


def test_names_match_first_and_what_is_left_by_order_function_and_units() -> None:
    first = [act("same", 1), act("old1", 1, 1), act("tanh", 1, function="tanh"), act("old2", 1, 1)]
    then = [act("new1", 1, 0), act("same", 1, 0), act("new2", 0, 0), act("extra", 1)]
    rows = compared(first, then)
    assert [(row.activation, row.other, row.match) for row in rows] == [
        ("old2", "new2", "shape"),
        ("same", "same", "name"),
        ("old1", "new1", "shape"),
        ("tanh", "", "alone"),
        ("extra", "extra", "alone"),
    ]
    assert (rows[0].by, rows[3].by, rows[4].dying_first) == (1.0, None, None)
    assert (rows[1].units, rows[1].by) == (1, 0.5)


def test_files_without_activations_have_no_rows() -> None:
    empty: ProbeStats = stats()
    assert compare_neurons(empty, empty) == []

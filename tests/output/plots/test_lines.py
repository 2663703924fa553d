"""A line shows what is known, and shows what is not known as that."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from condcli.analysis.condition import ConditionNumber
from condcli.output.plots.lines import Curve, Scale, Value, draw_curve, parted
from condcli.output.plots.style import looks
from tests.output.plots.artists import lines, places


def kappa(value: float | None, bound: float | None = None) -> ConditionNumber:
    return ConditionNumber(value=value, lower_bound=bound, rank=2, size=4)


def curve(values: list[Value], scale: Scale = "log", series: int = 1) -> Axes:
    axes = Figure().subplots()
    look = looks(series)[min(1, series - 1)]
    draw_curve(axes, Curve(look=look, places=range(len(values)), values=values), scale, 0)
    return axes


def test_every_value_is_in_one_part() -> None:
    found = parted([1.5, None, 0.0, np.inf, np.nan, kappa(7.0), kappa(None, 3.0), kappa(np.inf)])
    np.testing.assert_array_equal(found.known, [1.5, *[np.nan] * 4, 7.0, np.nan, np.nan])
    np.testing.assert_array_equal(found.bounds, [*[np.nan] * 6, 3.0, np.nan])
    assert found.zero.nonzero()[0].tolist() == [2]
    assert found.infinite.nonzero()[0].tolist() == [3, 7]


def test_no_value_is_no_part() -> None:
    assert parted([]).known.size == 0


def test_what_is_not_known_is_a_gap() -> None:
    axes = curve([1.0, None, 2.0, 3.0])
    np.testing.assert_array_equal(lines(axes), [[1.0, np.nan, 2.0, 3.0]])
    assert lines(axes, "zero") == lines(axes, "infinite") == lines(axes, "bounds") == []


def test_zero_and_infinity_are_at_the_edges() -> None:
    axes = curve([1.0, 0.0, kappa(np.inf), 0.0])
    assert places(axes, "zero") == [[1.0, 3.0]]
    assert places(axes, "infinite") == [[2.0]]
    np.testing.assert_array_equal(lines(axes, "zero"), [[0.0, 0.0]])
    np.testing.assert_array_equal(lines(axes, "infinite"), [[1.0]])
    height = axes.transAxes.transform((0, 1))[1]
    (sign,) = [line for line in axes.lines if line.get_gid() == "infinite"]
    assert sign.get_transform().transform((2.0, 1.0))[1] == pytest.approx(height)


def test_every_place_is_within_the_panel() -> None:
    low, high = curve([None, 1.0, 2.0, 0.0, np.inf, None]).get_xlim()
    assert low < 0
    assert high > 5


def test_a_share_of_zero_is_on_the_line() -> None:
    axes = curve([0.0, 0.5], "share")
    np.testing.assert_array_equal(lines(axes), [[0.0, 0.5]])
    assert lines(axes, "zero") == []


def test_a_lower_bound_is_dotted_and_open() -> None:
    axes = curve([kappa(2.0), kappa(None, 9.0), kappa(4.0)])
    np.testing.assert_array_equal(lines(axes), [[2.0, np.nan, 4.0]])
    np.testing.assert_array_equal(lines(axes, "bounds"), [[np.nan, 9.0, np.nan]])
    np.testing.assert_array_equal(lines(axes, "reach"), [[2.0, 9.0, 4.0]])
    styles = {line.get_gid(): line for line in axes.lines}
    assert styles["reach"].get_linestyle() == ":"
    assert styles["bounds"].get_markerfacecolor() == "white"
    assert styles["known"].get_linestyle() != ":"


def test_a_point_that_no_line_leads_to_has_a_marker() -> None:
    many = 20  # series, the second of which has no markers
    values: list[Value] = [1.0, 2.0, None, 3.0, None, 4.0, 5.0]
    (line,) = curve(values, series=many).lines
    assert line.get_markevery() == [3]


def test_a_long_line_has_a_dozen_markers() -> None:
    (line,) = curve([float(k + 1) for k in range(1000)]).lines
    assert 12 <= len(line.get_markevery()) <= 14

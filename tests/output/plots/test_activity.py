"""The histograms count every unit once."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from condcli.errors import InputError, UsageError
from condcli.output.plots.activity import BINS, activity
from condcli.output.plots.sources import Options
from tests.output.plots.artists import drawn, panels, sample
from tests.output.plots.networks import hard_network, network
from tests.synthetic import activation, layer, stats


def bars(axes: Axes, gid: str) -> list[float]:
    return [
        patch.get_height()
        for patch in axes.patches
        if isinstance(patch, Rectangle) and patch.get_gid() == gid
    ]


def test_dying_full_and_the_others_are_all_units() -> None:
    shown = panels(drawn(activity, [sample(network())], Options()))[:3]
    for k, axes in enumerate(shown):
        assert bars(axes, "dying") == [k / 8]
        assert bars(axes, "full") == [2 / 8]
        on = bars(axes, "on")
        assert len(on) == BINS
        assert sum(on) == pytest.approx((6 - k) / 8)
    counts = np.zeros(BINS)
    for active in (10, 30, 50, 55, 70, 99):
        counts[active * BINS // 100] += 1 / 8
    np.testing.assert_allclose(bars(shown[0], "on"), counts)


def test_saturation_takes_the_place_where_it_is_counted() -> None:
    axes = panels(drawn(activity, [sample(hard_network())], Options()))[1]
    assert bars(axes, "dying") == bars(axes, "full") == []
    on = bars(axes, "on")
    assert [on[0], on[1]] == [2 / 4, 2 / 4]  # 0 and 0, 5 and 9 of 100 rows


def test_of_many_activations_some_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    many = stats(layer(), activations=tuple(activation(f"a{k}", order=k) for k in range(100)))
    shown = [axes for axes in panels(drawn(activity, [sample(many)], Options())) if axes.patches]
    names = [axes.get_title().split("\n")[0] for axes in shown]
    assert len(names) == 24
    assert (names[0], names[-1]) == ("a0", "a99")
    assert "shows 24 of 100 activations" in capsys.readouterr().err


def test_no_activation_and_two_files_are_errors() -> None:
    with pytest.raises(InputError, match="there is no activation in it to plot"):
        drawn(activity, [sample(stats(layer()))], Options())
    with pytest.raises(UsageError, match="activity shows one file, not 2"):
        drawn(activity, [sample(network())] * 2, Options())

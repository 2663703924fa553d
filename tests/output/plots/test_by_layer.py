"""What is drawn by layer is what the statistics say, found in another way."""

from __future__ import annotations

import numpy as np
import pytest

from condcli.errors import InputError, UsageError
from condcli.output.plots.by_layer import depth, neuron_shares, weights
from condcli.output.plots.sources import Options
from tests.output.plots.artists import drawn, lines, panels, places, sample, texts
from tests.output.plots.networks import GRAD, INPUT, hard_network, network
from tests.synthetic import layer, stats


def test_lambda_max_is_that_of_the_moments() -> None:
    figure = drawn(depth, [sample(network())], Options(percent=50))
    x, grad, fisher, *_ = (lines(axes)[0] for axes in panels(figure))
    np.testing.assert_allclose(x, 8 * 0.1 ** np.arange(4))
    np.testing.assert_allclose(grad, 0.3 * 0.1 ** np.arange(3, -1, -1))
    np.testing.assert_allclose(fisher, x * grad)
    assert all(axes.get_yscale() == "log" for axes in panels(figure))


@pytest.mark.parametrize("percent", [100, 80, 50, 10])
def test_kappa_is_the_ratio_of_eigenvalues(percent: int) -> None:
    found = panels(drawn(depth, [sample(network())], Options(percent=percent)))[3:]
    products = np.sort(np.outer(INPUT, GRAD), axis=None)[::-1]
    for axes, values in zip(found, (INPUT, GRAD, products), strict=True):
        k = int(np.ceil(percent * len(values) / 100))
        np.testing.assert_allclose(lines(axes)[0], [values[0] / values[k - 1]] * 4)
        assert f"{percent}" in axes.get_title()


def test_a_file_is_a_series() -> None:
    samples = [sample(network(), "plain"), sample(network(fall=0.9), "bn")]
    figure = drawn(depth, samples, Options())
    assert texts(figure) == ["plain", "bn"]
    for axes in panels(figure)[:2]:
        plain, bn = (np.log10(values) for values in lines(axes))
        assert np.ptp(plain) == pytest.approx(3)
        assert np.ptp(bn) == pytest.approx(-3 * np.log10(0.9))


def test_layers_are_named_where_they_are_few_and_alike() -> None:
    figure = drawn(depth, [sample(network())], Options())
    names = [text.get_text() for text in panels(figure)[-1].get_xticklabels()]
    assert names == ["fc1", "fc2", "fc3", "fc4"]
    figure = drawn(depth, [sample(network()), sample(network(6))], Options())
    assert "fc1" not in [text.get_text() for text in panels(figure)[-1].get_xticklabels()]
    assert places(panels(figure)[0]) == [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6]]


def test_a_glob_chooses_layers() -> None:
    figure = drawn(depth, [sample(network())], Options(layers="fc[23]"))
    assert [len(values) for values in lines(panels(figure)[0])] == [2]


def test_what_cannot_be_drawn_is_shown_as_such() -> None:
    figure = drawn(depth, [sample(hard_network())], Options(percent=100))
    x, _, _, kappa, _, _ = panels(figure)
    np.testing.assert_array_equal(np.isnan(lines(x)[0]).nonzero()[0], [1, 2])
    assert places(x, "zero") == [[2]]  # the dead layer
    assert places(kappa, "infinite") == [[4, 7]]  # few rows, and a token that never occurred
    np.testing.assert_array_equal(np.isfinite(lines(kappa, "bounds")[0]).nonzero()[0], [4])
    assert texts(figure) == ["at least", "zero", "infinite"]


def test_the_scale_of_the_conv_view_holds() -> None:
    found = network(1)
    wide = layer("conv", found.layers["fc1"].input_moment, positions=9.0, kind="conv2d")
    shown = [
        lines(panels(drawn(depth, [sample(stats(wide, conv=conv))], Options()))[1])[0][0]
        for conv in ("channels", "patches")
    ]
    assert shown[0] == pytest.approx(81 * shown[1])


def test_domination_shows_the_ratio_and_its_threshold() -> None:
    figure = drawn(weights, [sample(network())], Options(threshold=0.01))
    sigma, grad, ratio = (lines(axes)[0] for axes in panels(figure))
    np.testing.assert_allclose(sigma, [2, 3, 4, 5])
    np.testing.assert_allclose(grad, [1e-4, 1e-3, 1e-2, 1e-1])
    np.testing.assert_allclose(ratio, [0.5e-4, 1e-3 / 3, 1e-2 / 4, 1e-1 / 5])
    np.testing.assert_array_equal(lines(panels(figure)[2], "threshold"), [[0.01, 0.01]])
    assert texts(figure) == ["threshold"]


def test_neurons_are_shares_of_units() -> None:
    figure = drawn(neuron_shares, [sample(network())], Options())
    dying, full = (lines(axes)[0] for axes in panels(figure))
    np.testing.assert_allclose(dying, [0, 1 / 8, 2 / 8])
    np.testing.assert_allclose(full, [2 / 8] * 3)


def test_functions_that_have_no_dying_units_are_a_gap() -> None:
    figure = drawn(neuron_shares, [sample(hard_network())], Options())
    np.testing.assert_array_equal(lines(panels(figure)[0]), [[0.5, np.nan]])


def test_panels_without_any_number_say_so() -> None:
    broken = np.full((2, 2), np.nan)
    lost = layer("fc", broken, broken, nonfinite="since batch 0")
    figure = drawn(depth, [sample(stats(lost))], Options())
    assert [[text.get_text() for text in axes.texts] for axes in panels(figure)] == [
        ["not known"]
    ] * 6


def test_nothing_to_plot_is_an_error_with_a_remedy() -> None:
    with pytest.raises(InputError, match=r"net\.h5: there is no layer in it to plot"):
        drawn(depth, [sample(stats())], Options())
    with pytest.raises(InputError, match="there is no activation in it"):
        drawn(neuron_shares, [sample(stats(layer()))], Options())
    with pytest.raises(UsageError, match=r"no layer of net\.h5 matches 'conv'; they are named fc1"):
        drawn(weights, [sample(network())], Options(layers="conv"))


def test_an_error_names_the_file_and_the_layer() -> None:
    wrong = layer("fc7", np.full((2, 2), np.nan))
    with pytest.raises(InputError, match=r"net\.h5: layer 'fc7': its input moment"):
        drawn(depth, [sample(stats(wrong))], Options())

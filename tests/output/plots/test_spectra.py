"""A spectrum's curve is the eigenvalues that are above the noise, in their places."""

from __future__ import annotations

import numpy as np
import pytest

from condcli.errors import InputError, UsageError
from condcli.output.plots.sources import Options
from condcli.output.plots.spectra import spectra
from tests.output.plots.artists import drawn, lines, panels, places, sample, texts
from tests.output.plots.networks import GRAD, INPUT, hard_network, network
from tests.synthetic import diagonal, layer, stats


def test_the_eigenvalues_are_those_of_the_moments() -> None:
    x, grad = panels(drawn(spectra, [sample(network())], Options()))
    for k, (of_input, of_grad) in enumerate(zip(lines(x), lines(grad), strict=True)):
        np.testing.assert_allclose(of_input, 0.1**k * np.array(INPUT))
        np.testing.assert_allclose(of_grad, 0.1 ** (3 - k) * np.array(GRAD))
    assert places(x) == [[20, 40, 60, 80, 100]] * 4
    assert places(grad) == [[25, 50, 75, 100]] * 4


def test_a_curve_ends_at_the_noise_floor() -> None:
    few = layer("few", diagonal(1.0, 0.1, 1e-9, 1e-10))
    x, _ = panels(drawn(spectra, [sample(stats(few, dtype="float32"))], Options()))
    np.testing.assert_allclose(lines(x), [[1.0, 0.1, np.nan, np.nan]], rtol=1e-6)


def test_groups_are_taken_together() -> None:
    figure = drawn(spectra, [sample(hard_network())], Options(layers="grouped"))
    x, grad = panels(figure)
    np.testing.assert_allclose(lines(x), [[3.0, 2.0, 1.0, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(lines(grad), [[1e-3, 1e-4]], rtol=1e-6)


def test_a_long_spectrum_is_thinned_but_keeps_its_ends() -> None:
    values = np.logspace(0, -3, 600)
    long = layer("long", np.diag(values))
    x, _ = panels(drawn(spectra, [sample(stats(long))], Options()))
    (shown,), (at,) = lines(x), places(x)
    assert len(shown) < 260
    np.testing.assert_allclose(shown[:50], values[:50])
    assert (at[0], at[-1]) == (pytest.approx(100 / 600), 100)
    np.testing.assert_allclose(np.log10(shown), np.interp(at, [100 / 600, 100], [0, -3]), atol=1e-9)


def test_a_file_is_a_row_of_one_scale() -> None:
    samples = [sample(network(), "plain"), sample(network(fall=0.5), "bn")]
    figure = drawn(spectra, samples, Options())
    x, _, other_x, _ = panels(figure)
    assert (x.get_ylabel(), other_x.get_ylabel()) == ("plain", "bn")
    assert x.get_ylim() == other_x.get_ylim()
    assert x.get_ylim()[0] < 0.1**3 * 0.5
    assert texts(figure) == ["fc1", "fc2", "fc3", "fc4"]


def test_many_layers_have_a_colour_bar_and_their_ends_named() -> None:
    figure = drawn(spectra, [sample(network(12))], Options())
    assert texts(figure) == ["fc1", "fc12"]
    (bar,) = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert bar.get_ylabel() == "layer, in forward order"
    assert bar.get_ylim() == (1, 12)


def test_too_many_files_and_no_layers_are_errors() -> None:
    with pytest.raises(UsageError, match="7 files do not fit onto a page; plot at most 6"):
        drawn(spectra, [sample(network(), str(n)) for n in range(7)], Options())
    with pytest.raises(InputError, match="no layer in it to plot"):
        drawn(spectra, [sample(stats())], Options())


def test_very_many_layers_are_a_map_of_the_eigenvalues_of_kappa() -> None:
    wide = stats(
        *(layer(f"fc{k}", np.diag(np.arange(200.0, 0, -1) + k), order=k) for k in range(61)),
        dtype="float32",
    )
    figure = drawn(spectra, [sample(wide)], Options())
    (image,) = panels(figure)[0].images
    pixels = np.asarray(image.get_array())
    assert pixels.shape == (100, 61)
    for percent in (1, 50, 100):
        np.testing.assert_allclose(pixels[percent - 1], 200 - 2 * percent + 1 + np.arange(61))
    (image,) = panels(figure)[1].images
    np.testing.assert_allclose(np.asarray(image.get_array())[:, 0], [0.5] * 50 + [0.1] * 50)


def test_noise_is_grey_in_a_map() -> None:
    noisy = stats(
        *(layer(f"fc{k}", np.diag([1.0, 1e-9]), order=k) for k in range(61)), dtype="float32"
    )
    (image,) = panels(drawn(spectra, [sample(noisy)], Options()))[0].images
    assert np.ma.getmaskarray(image.get_array())[50:].all()
    assert not np.ma.getmaskarray(image.get_array())[:50].any()

"""Heat maps are the moments, or means over their blocks, against naive sums."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from condcli.errors import UsageError
from condcli.output.plots.matrices import block_means, block_means_of_factor, maps_of, matrices
from condcli.output.plots.sources import Options
from tests.output.plots.artists import drawn, panels, sample
from tests.output.plots.networks import hard_network, network
from tests.synthetic import layer, wide


def naive_means(matrix: np.ndarray, most: int) -> np.ndarray:
    size = len(matrix)
    edges = [int(edge) for edge in np.linspace(0, size, min(size, most) + 1)]
    blocks = [slice(a, b) for a, b in pairwise(edges)]
    return np.array([[matrix[rows, columns].mean() for columns in blocks] for rows in blocks])


def moment(size: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((50, size))
    return rows.T @ rows / 50


def whole(groups: np.ndarray) -> np.ndarray:
    """The matrix that has the groups' along its diagonal."""
    count, size, _ = groups.shape
    matrix = np.zeros((count * size, count * size))
    for g, group in enumerate(groups):
        place = slice(g * size, (g + 1) * size)
        matrix[place, place] = group
    return matrix


@pytest.mark.parametrize("most", [3, 7, 20, 50])
def test_a_pixel_is_the_mean_of_its_block(most: int) -> None:
    matrix = moment(20)
    np.testing.assert_allclose(block_means(matrix, most), naive_means(matrix, most))
    diagonal = np.arange(20.0)
    np.testing.assert_allclose(block_means(diagonal, most), naive_means(np.diag(diagonal), most))
    groups = np.stack([moment(5, seed) for seed in range(4)])
    np.testing.assert_allclose(block_means(groups, most), naive_means(whole(groups), most))


@pytest.mark.parametrize("most", [3, 7, 20, 50])
def test_a_factor_gives_the_pixels_of_its_moment(most: int) -> None:
    factor = np.random.default_rng(0).standard_normal((4, 6, 5))
    groups = whole(factor.swapaxes(1, 2) @ factor)
    np.testing.assert_allclose(block_means_of_factor(factor, most), naive_means(groups, most))
    one = factor[0]
    found = block_means_of_factor(one, most)
    np.testing.assert_allclose(found, naive_means(one.T @ one, most), atol=1e-12)


def test_wide_layers_are_drawn_by_their_factors() -> None:
    wide_layer = wide()
    rows = wide_layer.input_factor
    assert rows is not None
    x, grad, fisher = maps_of(wide_layer, conv="channels")
    np.testing.assert_allclose(x, rows.T @ rows)
    np.testing.assert_allclose(fisher, np.kron(x, grad))


def test_the_map_of_f_is_the_kronecker_product() -> None:
    small = layer(input_moment=moment(6), grad_moment=moment(4, 1), positions=3.0)
    x, grad, fisher = maps_of(small, conv="channels")
    np.testing.assert_allclose(x, small.input_moment)
    np.testing.assert_allclose(grad, 9 * small.grad_moment)
    np.testing.assert_allclose(fisher, np.kron(x, grad))
    x, grad, fisher = maps_of(small, conv="patches")
    np.testing.assert_allclose(grad, small.grad_moment)
    np.testing.assert_allclose(fisher, 3 * np.kron(x, grad))


def test_pixels_of_a_large_f_are_means_of_it() -> None:
    large = layer(input_moment=moment(40), grad_moment=moment(30, 1))
    _, _, fisher = maps_of(large, conv="channels")
    assert fisher.shape == (400, 400)
    ins, outs = (np.linspace(0, size, 21).astype(int) for size in (40, 30))
    tensor = np.einsum("ij,kl->ikjl", large.input_moment, large.grad_moment)
    for pixel in ((0, 0), (7, 399), (123, 45)):
        (i, k), (j, m) = divmod(pixel[0], 20), divmod(pixel[1], 20)
        block = tensor[
            ins[i] : ins[i + 1], outs[k] : outs[k + 1], ins[j] : ins[j + 1], outs[m] : outs[m + 1]
        ]
        assert fisher[pixel] == pytest.approx(block.mean())


def test_a_row_is_a_layer_and_colours_are_centred_on_zero() -> None:
    figure = drawn(matrices, [sample(network())], Options())
    assert [axes.get_ylabel() for axes in panels(figure)[::3]] == ["fc1", "fc2", "fc3", "fc4"]
    for axes in panels(figure):
        (image,) = axes.images
        assert image.norm.vmin == -image.norm.vmax
        assert image.norm.vmax == pytest.approx(np.abs(image.get_array()).max())
    assert "5 × 5" in panels(figure)[0].get_title()
    assert "20 × 20" in panels(figure)[2].get_title()


def test_hard_layers_have_maps(capsys: pytest.CaptureFixture[str]) -> None:
    figure = drawn(matrices, [sample(hard_network())], Options(layers="[bdeg]*"))
    assert len(panels(figure)) == 3 * 4
    assert "note: shows 4 of 5 layers; choose others" in capsys.readouterr().err
    figure.canvas.draw()


def test_more_than_one_file_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="matrices shows one file, not 2"):
        drawn(matrices, [sample(network())] * 2, Options())

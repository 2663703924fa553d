"""Convolutions whose patches are too many to be copied out at once, against torch's unfold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from condcli.api import probe
from condcli.stats import LayerStats

from .plain_rows import input_rows, split_groups
from .reference import second_moment

# Each has between five and ten million patch entries.
CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Conv2d], tuple[int, ...]]] = {
    "many images": (lambda: nn.Conv2d(8, 4, 3, padding=1), (20, 8, 64, 64)),
    "one large image": (lambda: nn.Conv2d(8, 4, 3, padding=1), (1, 8, 300, 260)),
    "strided stem": (lambda: nn.Conv2d(3, 4, 7, stride=2, padding=3), (9, 3, 128, 128)),
    "dilated": (lambda: nn.Conv2d(8, 4, 3, dilation=2), (20, 8, 64, 64)),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8, padding=1), (20, 8, 64, 64)),
    "reflecting": (lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect"), (20, 8, 64, 64)),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_large_convolution_has_the_moment_of_its_patches(
    name: str, dtype: str, tolerance: float
) -> None:
    make, shape = CONVOLUTIONS[name]
    torch.manual_seed(2)
    conv, x = make(), torch.randn(shape) + 0.5
    layer = input_statistics(conv, x, dtype)
    patches = split_groups(conv, unfolded(conv, x.double()))
    assert layer.rows == layer.input_rows == patches.shape[1]
    assert_close(layer.input_moment, second_moment(patches), tolerance)
    assert_close(layer.input_mean, patches.transpose(0, 1).flatten(1).mean(0), tolerance)


@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        (nn.ConvTranspose2d(64, 2, 3, stride=2), (40, 64, 8, 8)),
        (nn.Conv1d(64, 2, 9), (40, 64, 208)),
        (nn.Conv3d(16, 2, 3), (20, 16, 10, 10, 10)),
    ],
)
def test_large_maps_of_other_dimensions_have_the_moment_of_their_patches(
    conv: nn.Module, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(2)
    x = torch.randn(shape)
    layer = input_statistics(conv, x, "float64")
    patches = input_rows(conv, x.double(), conv(x), conv="patches")
    assert_close(layer.input_moment, second_moment(patches[None]), 1e-12)


def input_statistics(conv: nn.Module, x: Tensor, dtype: str) -> LayerStats:
    pool = {3: nn.AdaptiveAvgPool1d, 4: nn.AdaptiveAvgPool2d, 5: nn.AdaptiveAvgPool3d}[x.ndim]
    model = nn.Sequential(conv, pool(1), nn.Flatten())
    y = torch.zeros(len(x), dtype=torch.int64)
    return probe(model, (x, y), conv="patches", dtype=dtype).layers["0"]


def unfolded(conv: nn.Conv2d, x: Tensor) -> Tensor:
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = functional.pad(x, conv._reversed_padding_repeated_twice, mode=mode)
    columns = functional.unfold(
        padded, conv.kernel_size, stride=conv.stride, dilation=conv.dilation
    )
    return columns.transpose(1, 2).flatten(0, 1)


def assert_close(measured: np.ndarray, truth: Tensor, tolerance: float) -> None:
    expected = truth.numpy()
    assert measured.shape == expected.shape
    assert np.linalg.norm(measured - expected) <= tolerance * np.linalg.norm(expected)

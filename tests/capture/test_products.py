"""Sums of rows and of their products, at every width and scale, against float64."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from condcli.api import probe
from condcli.capture.activations import ActivationCount
from condcli.capture.convolution import Convolution
from condcli.capture.counting import CACHED_NUMBERS
from condcli.capture.moments import Moment, moderated
from condcli.capture.patch_moment import PatchMoment, displacement_pays
from condcli.capture.products import PIECE_ROWS

TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-12}


def rows_of(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Rows whose mean is as large as what varies."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) + 0.5


def summed(blocks: Sequence[Tensor]) -> Moment:
    """The blocks taken in as layers do it."""
    moment = Moment()
    for block in blocks:
        moment.add(*moderated(block))
    return moment


def assert_is_moment_of(moment: Moment | PatchMoment, rows: Tensor, tolerance: float) -> None:
    """For rows (G, n, d)."""
    rows = rows.double()
    assert moment.rows == rows.shape[1]
    second = moment.second()
    expected = rows.mT @ rows / rows.shape[1]
    expected = expected[0] if len(expected) == 1 else expected
    assert second.shape == expected.shape
    assert torch.equal(second, second.mT)
    assert float((second - expected).norm()) <= tolerance * float(expected.norm())
    mean = rows.mean(1).flatten()
    assert float((moment.mean() - mean).norm()) <= tolerance * float(mean.norm())


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    ("groups", "width"), [(1, 1), (1, 3), (1, 255), (1, 256), (1, 257), (3, 5), (2, 300)]
)
@pytest.mark.parametrize("sizes", [(7,), (4096, 4095, 1, 4097)])
def test_sums_of_rows_of_any_width_are_those_of_float64(
    groups: int, width: int, dtype: torch.dtype, sizes: tuple[int, ...]
) -> None:
    blocks = [rows_of(groups, n, width, dtype=dtype, seed=i) for i, n in enumerate(sizes)]
    assert_is_moment_of(summed(blocks), torch.cat(blocks, 1), TOLERANCES[dtype])


@pytest.mark.parametrize(
    ("width", "sizes"),
    [
        (256, (PIECE_ROWS + 1,)),
        (256, (PIECE_ROWS - 5, 5)),
        (300, (PIECE_ROWS - 5, 7, 3000)),
        (1000, (900, 1, 500)),
        (1000, (PIECE_ROWS - 1, 2)),
        (1300, (700,)),
    ],
)
def test_wide_products_are_right_in_one_piece_and_in_several(
    width: int, sizes: tuple[int, ...]
) -> None:
    blocks = [rows_of(1, n, width, dtype=torch.float32, seed=i) for i, n in enumerate(sizes)]
    moment = summed(blocks)
    assert_is_moment_of(moment, torch.cat(blocks, 1), 1e-6)
    assert moment.second().dtype == torch.float32


def test_many_rows_of_three_numbers_lose_no_digits() -> None:
    """One product over all of them in float32 is off by more than 1e-5."""
    rows = rows_of(1, 300_000, 3, dtype=torch.float32)
    assert_is_moment_of(summed([rows]), rows, 1e-6)


@pytest.mark.parametrize("width", [4, 300])
@pytest.mark.parametrize(
    "scales", [(1e-25, 1e-25), (1e25, 1e25), (0, 1e-25), (0, 1, 1e-25), (1, 0)]
)
def test_rows_of_any_scale_neither_vanish_nor_overflow(
    width: int, scales: tuple[float, ...]
) -> None:
    blocks = [rows_of(1, 20, width, dtype=torch.float32, seed=i) * s for i, s in enumerate(scales)]
    assert_is_moment_of(summed(blocks), torch.cat(blocks, 1), 1e-6)


@pytest.mark.parametrize("width", [4, 300])
def test_batches_of_scales_fifty_decades_apart_are_all_in_the_sums(width: int) -> None:
    """In other units, so that the small ones are not lost beside the large ones."""
    blocks = []
    for i, scale in enumerate((0, 1e-25, 1, 1e25)):
        rows = torch.zeros(1, 20, 4 * width)
        rows[..., i * width : (i + 1) * width] = rows_of(1, 20, width, dtype=torch.float32) * scale
        blocks.append(rows)
    moment = summed(blocks)
    truth = torch.cat(blocks, 1)[0].double()
    expected = truth.T @ truth / len(truth)
    for i in range(4):
        units = slice(i * width, (i + 1) * width)
        block, own = moment.second()[units, units], expected[units, units]
        assert float((block - own).norm()) <= 1e-6 * float(own.norm())


@pytest.mark.parametrize("channels", [32, 200])  # by convolution, by products
@pytest.mark.parametrize("scales", [(1e-25, 1e-25), (1e25,), (0, 1e-25), (0, 0, 1)])
def test_displaced_maps_of_any_scale_neither_vanish_nor_overflow(
    channels: int, scales: tuple[float, ...]
) -> None:
    convolution = Convolution((1, 3), (1, 1), ((0, 0), (1, 1)), (1, 1), 1)
    moment, rows = PatchMoment((3, channels)), []
    for i, scale in enumerate(scales):
        maps = rows_of(2, channels, 8, 16, dtype=torch.float32, seed=i) * scale
        assert displacement_pays(*convolution.window(maps))
        x, power = moderated(maps)
        moment.add(convolution, x, power, None)
        padded = nn.functional.pad(maps, (1, 1))
        taps = [padded[..., tap : tap + 16] for tap in range(3)]
        rows.append(torch.stack(taps, -1).movedim(1, -2).flatten(0, 2).flatten(1))
    assert_is_moment_of(moment, torch.cat(rows)[None], 1e-6)


@pytest.mark.parametrize("function", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("masked", [False, True])
def test_activations_of_more_rows_than_one_piece_are_counted_exactly(
    function: str, dtype: torch.dtype, masked: bool
) -> None:
    rows = CACHED_NUMBERS // 7 * 2 + 5
    outputs = getattr(torch, function)(3 * rows_of(rows, 7, dtype=dtype) - 1)
    tiny = torch.finfo(dtype).smallest_normal / 4
    outputs[:6, 0] = torch.tensor([0.0, -0.0, tiny, -tiny, 1.0, -1.0], dtype=dtype)
    outputs[:6, 1:] = 0
    real = torch.arange(rows) % 3 != 1 if masked else None
    count = ActivationCount(function, 0, -1, place=0)
    count.add(outputs[:100], None if real is None else real[:100])
    count.add(outputs[100:], None if real is None else real[100:])
    seen = outputs if real is None else outputs[real]
    stats = count.stats("act")
    assert stats.rows == len(seen)
    assert stats.active_count.tolist() == (seen > 0).sum(0).tolist()
    if function != "relu":
        low, high = {"tanh": (-0.98, 0.98), "sigmoid": (0.01, 0.99)}[function]
        expected = ((seen < low) | (seen > high)).sum(0)
        assert stats.saturated_count is not None
        assert stats.saturated_count.tolist() == expected.tolist()


def test_units_of_a_channels_last_map_are_its_channels() -> None:
    maps = rows_of(5, 3, 40, 40, dtype=torch.float32)
    for x in (maps, maps.contiguous(memory_format=torch.channels_last)):
        count = ActivationCount("relu", 0, 1, place=0)
        count.add(x)
        stats = count.stats("act")
        assert stats.rows == 5 * 40 * 40
        assert stats.active_count.tolist() == (maps > 0).sum((0, 2, 3)).tolist()


def test_a_first_batch_of_zeros_hides_nothing_of_the_next() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(32, 3, 3, padding=1, bias=False), nn.Flatten())
    x = torch.cat([torch.zeros(2, 32, 16, 16), torch.randn(2, 32, 16, 16) * 1e-25])
    y = torch.zeros(4, 3 * 16 * 16)
    for view in ("patches", "channels"):
        layer = probe(model, (x, y), conv=view, batch_size=2).layers["0"]
        whole = probe(model, (x, y), conv=view, batch_size=4, dtype="float64").layers["0"]
        scale = abs(whole.input_moment).max()
        assert scale > 0
        assert abs(layer.input_moment - whole.input_moment).max() <= 1e-6 * scale

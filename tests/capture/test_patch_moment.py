"""Each way to sum the moment of a convolution's patches, against patches cut out one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from condcli.api import probe
from condcli.capture import displacement, patch_moment
from condcli.capture.convolution import Convolution
from condcli.capture.patch_moment import PatchMoment, displacement_pays

from .reference import second_moment

TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-12}
FEW = {"by convolution": 10**9, "by products": 0}  # what counts as few channels, to force the way


def conv(
    *kernel: int,
    stride: tuple[int, ...] | None = None,
    padding: tuple[tuple[int, int], ...] | None = None,
    dilation: tuple[int, ...] | None = None,
    groups: int = 1,
) -> Convolution:
    ones = (1,) * len(kernel)
    none = ((0, 0),) * len(kernel)
    return Convolution(kernel, stride or ones, padding or none, dilation or ones, groups)


# name → (the geometry, the shape of a batch)
GEOMETRIES: dict[str, tuple[Convolution, tuple[int, ...]]] = {
    "1-D": (conv(3), (3, 4, 9)),
    "1-D, same, even kernel": (conv(4, padding=((1, 2),)), (3, 4, 9)),
    "1-D, dilated, groups": (conv(5, padding=((4, 4),), dilation=(2,), groups=2), (2, 6, 11)),
    "1-D, map smaller than the kernel": (conv(7, padding=((3, 3),)), (2, 3, 2)),
    "3×3": (conv(3, 3, padding=((1, 1), (1, 1))), (3, 4, 9, 8)),
    "3×3, valid": (conv(3, 3), (3, 4, 6, 7)),
    "3×3, two groups": (conv(3, 3, padding=((1, 1), (1, 1)), groups=2), (2, 6, 5, 6)),
    "3×3, depthwise": (conv(3, 3, padding=((1, 1), (1, 1)), groups=5), (2, 5, 6, 5)),
    "3×3, more padding than reaches": (conv(3, 3, padding=((4, 3), (2, 5))), (2, 3, 4, 5)),
    "3×3, cropped": (conv(3, 3, padding=((-1, 0), (1, -2))), (2, 3, 6, 8)),
    "3×3, one position": (conv(3, 3), (4, 3, 3, 3)),
    "3×3, one pixel": (conv(3, 3, padding=((1, 1), (1, 1))), (4, 3, 1, 1)),
    "3×3, dilated": (conv(3, 3, padding=((2, 2), (3, 3)), dilation=(2, 3)), (2, 3, 7, 8)),
    "3×3, past the map": (conv(3, 3, padding=((4, 4), (4, 4)), dilation=(4, 4)), (2, 3, 3, 5)),
    "2×2, same": (conv(2, 2, padding=((0, 1), (0, 1))), (3, 3, 5, 4)),
    "1×5": (conv(1, 5, padding=((0, 0), (2, 2))), (2, 3, 4, 6)),
    "5×1, groups": (conv(5, 1, padding=((2, 1), (0, 0)), groups=3), (2, 6, 6, 4)),
    "3×2, asymmetric": (conv(3, 2, padding=((2, 1), (0, 3)), groups=2), (2, 4, 7, 6)),
    "5×5, map smaller than the kernel": (conv(5, 5, padding=((2, 2), (2, 2))), (2, 4, 3, 2)),
    "1×1": (conv(1, 1), (3, 4, 5, 4)),
    "1×1, padded": (conv(1, 1, padding=((1, 0), (2, 1))), (3, 4, 3, 4)),
    "3-D": (conv(2, 3, 3, padding=((1, 0), (1, 1), (0, 1))), (2, 3, 3, 4, 4)),
    "3-D, depthwise": (conv(3, 1, 2, padding=((1, 1), (0, 0), (1, 1)), groups=3), (2, 3, 4, 3, 3)),
    "many channels": (conv(3, 3, padding=((1, 1), (1, 1))), (2, 200, 5, 4)),
    "many channels, two groups": (conv(3, 3, padding=((1, 1), (1, 1)), groups=2), (2, 400, 4, 4)),
}  # fmt: skip
STRIDED: dict[str, tuple[Convolution, tuple[int, ...]]] = {
    "1-D, strided": (conv(3, stride=(2,), padding=((1, 1),)), (3, 4, 9)),
    "3×3, strided": (conv(3, 3, stride=(2, 2), padding=((1, 1), (1, 1)), groups=2), (2, 4, 9, 8)),
    "3×3, strided apart": (conv(3, 3, stride=(3, 1), dilation=(1, 2)), (2, 4, 8, 7)),
    "1×1, strided": (conv(1, 1, stride=(2, 2)), (2, 3, 9, 8)),
    "7×7 stem": (conv(7, 7, stride=(2, 2), padding=((3, 3), (3, 3))), (2, 3, 17, 16)),
    "3-D, strided": (conv(1, 2, 3, stride=(1, 2, 1), groups=2), (2, 4, 2, 5, 4)),
}
TRANSPOSED = replace(
    conv(3, 2, stride=(2, 3), padding=((1, 2), (-1, 1)), groups=2), transposed=True
)


def patches(convolution: Convolution, x: Tensor) -> Tensor:
    """All patches as rows, (G, rows, C/G·k), in float64."""
    x = x.double()
    stride = convolution.stride
    if convolution.transposed:
        sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
        spread = torch.zeros(*x.shape[:2], *sizes, dtype=x.dtype)
        spread[(..., *(slice(None, None, s) for s in stride))] = x
        x, stride = spread, (1,) * len(stride)
    x = functional.pad(x, [side for sides in reversed(convolution.padding) for side in sides])
    axes = list(zip(x.shape[2:], convolution.kernel, stride, convolution.dilation, strict=True))
    counts = [(size - d * (k - 1) - 1) // s + 1 for size, k, s, d in axes]
    taps = [
        x[(..., *(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, n, (_, _, s, d) in zip(tap, counts, axes, strict=True)
        ))]
        for tap in product(*map(range, convolution.kernel))
    ]  # fmt: skip
    rows = torch.stack(taps, -1).movedim(1, -2).flatten(0, len(axes))
    return rows.unflatten(1, (convolution.groups, -1)).transpose(0, 1).flatten(2)


def maps(*shape: int, dtype: torch.dtype, channels_last: bool = False, seed: int = 0) -> Tensor:
    """Positive and zero numbers, as an activation function leaves them: means are not small."""
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=source, dtype=dtype).relu()
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if channels_last else x


def summed(convolution: Convolution, *batches: Tensor) -> PatchMoment:
    channels = batches[0].shape[1] // convolution.groups
    moment = PatchMoment((len(list(product(*map(range, convolution.kernel)))), channels))
    for x in batches:
        moment.add(convolution, x, None, None)
    return moment


def assert_is_moment_of(moment: PatchMoment, rows: Tensor, tolerance: float) -> None:
    assert moment.rows == rows.shape[1]
    second = moment.second()
    assert torch.equal(second, second.mT)
    assert_close(second, second_moment(rows), tolerance)
    assert_close(moment.mean(), rows.mean(1).flatten(), tolerance)


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).norm()) <= tolerance * float(expected.norm())


def forced(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(patch_moment, "displacement_pays", lambda *_: way != "copied")
    monkeypatch.setattr(displacement, "FEW_CHANNELS", FEW.get(way, 0))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("way", ["copied", "by convolution", "by products"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_way_has_the_moment_of_the_patches(
    monkeypatch: pytest.MonkeyPatch, name: str, way: str, dtype: torch.dtype, channels_last: bool
) -> None:
    forced(monkeypatch, way)
    convolution, shape = GEOMETRIES[name]
    x = maps(*shape, dtype=dtype, channels_last=channels_last)
    assert_is_moment_of(summed(convolution, x), patches(convolution, x), TOLERANCES[dtype])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", STRIDED)
def test_strided_patches_are_copied_out(name: str, dtype: torch.dtype, channels_last: bool) -> None:
    convolution, shape = STRIDED[name]
    x = maps(*shape, dtype=dtype, channels_last=channels_last)
    assert not displacement_pays(*convolution.window(x))
    assert_is_moment_of(summed(convolution, x), patches(convolution, x), TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("way", ["copied", "by convolution", "by products"])
def test_a_transposed_convolution_sees_its_input_with_zeros_between(
    monkeypatch: pytest.MonkeyPatch, way: str, dtype: torch.dtype
) -> None:
    forced(monkeypatch, way)
    x = maps(2, 4, 5, 4, dtype=dtype)
    assert_is_moment_of(summed(TRANSPOSED, x), patches(TRANSPOSED, x), TOLERANCES[dtype])


@pytest.mark.parametrize("way", ["by convolution", "by products"])
def test_more_places_than_one_product_sums_lose_no_digits(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Some 40,000 places, one example with more than 8192 of them."""
    forced(monkeypatch, way)
    convolution = conv(3, 3, padding=((1, 1), (1, 1)))
    x = maps(4, 4, 100, 101, dtype=torch.float32)
    assert_is_moment_of(summed(convolution, x), patches(convolution, x), 1e-6)


@pytest.mark.parametrize("way", ["by convolution", "by products"])
def test_maps_of_several_sizes_add_up(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    forced(monkeypatch, way)
    convolution = conv(3, 3, padding=((1, 0), (0, 2)))
    batches = [
        maps(n, 4, height, width, dtype=torch.float32, seed=n)
        for n, height, width in ((3, 6, 5), (1, 2, 2), (2, 9, 3), (3, 6, 5))
    ]
    rows = torch.cat([patches(convolution, x) for x in batches], 1)
    assert_is_moment_of(summed(convolution, *batches), rows, 1e-6)


def test_what_is_copied_out_and_what_is_displaced_add_up() -> None:
    """The small maps are all border: their patches are copied."""
    convolution = conv(3, 3)
    large, small = maps(2, 32, 16, 16, dtype=torch.float64), maps(5, 32, 3, 3, dtype=torch.float64)
    assert displacement_pays(*convolution.window(large))
    assert not displacement_pays(*convolution.window(small))
    rows = torch.cat([patches(convolution, x) for x in (large, small)], 1)
    assert_is_moment_of(summed(convolution, large, small), rows, 1e-12)


def test_what_only_a_border_sees_is_right_beside_the_largest_numbers() -> None:
    """A bright frame is in the sums of all displacements and is taken off again: what is lost is
    relative to it, and it is in the matrix too.
    """
    convolution = conv(3, 3)
    x = maps(3, 32, 16, 16, dtype=torch.float32)
    x[:, :, 0] *= 1e3
    assert displacement_pays(*convolution.window(x))
    assert_is_moment_of(summed(convolution, x), patches(convolution, x), 1e-5)


@pytest.mark.parametrize(
    ("make", "shape", "displaced"),
    [
        (lambda: nn.Conv2d(64, 2, 3, padding=1), (2, 64, 16, 16), True),
        (lambda: nn.Conv2d(64, 2, 3, padding="same", dilation=2), (2, 64, 16, 16), True),
        (lambda: nn.Conv2d(3, 2, 3, padding=1), (4, 3, 16, 16), False),
        (lambda: nn.Conv2d(3, 2, 7, stride=2, padding=3), (2, 3, 32, 32), False),
        (lambda: nn.Conv2d(64, 2, 1), (2, 64, 16, 16), False),
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
def test_a_probe_takes_the_cheaper_way_to_the_same_moment(
    make: Callable[[], nn.Conv2d],
    shape: tuple[int, ...],
    displaced: bool,
    dtype: str,
    tolerance: float,
) -> None:
    torch.manual_seed(0)
    module, x = make(), maps(*shape, dtype=torch.float32)
    geometry = of_module(module)
    assert displacement_pays(*geometry.window(x)) is displaced
    model = nn.Sequential(module, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    data = (x, torch.zeros(len(x), dtype=torch.int64))
    layer = probe(model, data, conv="patches", dtype=dtype, batch_size=3).layers["0"]
    rows = patches(geometry, x)
    assert layer.input_rows == rows.shape[1]
    assert_close(torch.from_numpy(layer.input_moment), second_moment(rows), tolerance)
    assert_close(torch.from_numpy(layer.input_mean), rows.mean(1).flatten(), tolerance)


def of_module(module: nn.Conv2d) -> Convolution:
    before = module._reversed_padding_repeated_twice
    padding = ((before[2], before[3]), (before[0], before[1]))
    return Convolution(module.kernel_size, module.stride, padding, module.dilation, module.groups)


def test_nan_and_infinity_in_one_corner_are_seen() -> None:
    convolution = conv(3, 3, padding=((1, 1), (1, 1)))
    for bad in (float("nan"), float("inf")):
        x = maps(2, 32, 16, 16, dtype=torch.float32)
        assert displacement_pays(*convolution.window(x))
        assert summed(convolution, x).is_finite()
        x[1, 3, 15, 15] = bad
        assert not summed(convolution, x).is_finite()

"""Matrix products as 1×1 convolutions: the same to rounding, and taken only where they pay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condcli.api import probe
from condcli.capture import convolved
from condcli.capture.products import (
    BLOCK,
    add_outer_of_wide,
    block_width,
    make_symmetric,
    outer_of_narrow,
)

AMD = {"cpu_name": "AMD EPYC", "avx512_f": True, "avx512_vp2intersect": True}


@pytest.fixture
def looked_at_anew() -> Iterator[None]:
    """The processor is, by the test and after it."""
    convolved._blas_is_slow.cache_clear()
    yield
    convolved._blas_is_slow.cache_clear()


@pytest.fixture
def slow_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor whose matrix products are slower than its convolutions."""
    monkeypatch.setattr(convolved, "_blas_is_slow", lambda: True)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The convolutions that run, by name."""
    seen: list[str] = []

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: seen.append(name) or function(*args)

    monkeypatch.setattr(F, "conv2d", noted("conv2d", F.conv2d))
    backward = torch.ops.aten.convolution_backward
    monkeypatch.setattr(torch.ops.aten, "convolution_backward", noted("backward", backward))
    return seen


def rows_of(*shape: int, seed: int = 0) -> Tensor:
    """Rows whose mean is as large as what varies."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.5


def assert_near(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert float((found.double() - expected).norm()) <= 1e-6 * float(expected.norm())


@pytest.mark.parametrize(
    ("known", "slow"),
    [
        (AMD, True),
        (AMD | {"avx512_vp2intersect": False}, False),
        (AMD | {"cpu_name": "Intel(R) Xeon(R) Processor @ 2.50GHz"}, False),
        ({"avx512_vp2intersect": True}, False),
        ({}, False),
    ],
)
def test_blas_is_slow_where_only_convolutions_use_all_of_the_processor(
    known: dict[str, object],
    slow: bool,
    looked_at_anew: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert convolved._blas_is_slow() == slow


def test_blas_other_than_mkl_is_not_slow(
    looked_at_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: AMD, raising=False)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert not convolved._blas_is_slow()


@pytest.mark.parametrize(
    ("n", "p", "q"), [(1024, 256, 300), (1037, 128, 128), (16_384, 64, 16), (4096, 1, 2048)]
)
def test_outer_is_the_sum_of_outer_products(
    n: int, p: int, q: int, slow_blas: None, calls: list[str]
) -> None:
    a, b = rows_of(n, p), rows_of(n, q, seed=1)
    assert_near(convolved.outer(a, b), a.double().T @ b.double())
    assert calls == ["backward"]


@pytest.mark.parametrize("d", [100, 255, 256, BLOCK, BLOCK + 5, 1300])
@pytest.mark.parametrize("n", [300, 4103])
def test_moments_are_the_same(n: int, d: int, slow_blas: None, calls: list[str]) -> None:
    rows = rows_of(n, d)
    if d < 256:
        total = outer_of_narrow(rows[None], torch.float64)[0]
    else:
        total = torch.ones(d, d)
        add_outer_of_wide(total, rows)
        make_symmetric(total)
        total -= 1
    assert_near(total, rows.double().T @ rows.double())
    assert bool(calls) == (n * block_width(d) ** 2 >= convolved.FEWEST)


@pytest.mark.parametrize("shape", [(1024, 256), (64, 16, 256), (4, 8, 32, 256)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_has_the_values_and_gradients_of_torch(
    shape: tuple[int, ...], bias: bool, slow_blas: None, calls: list[str]
) -> None:
    layer = nn.Linear(256, 300, bias=bias)
    x = rows_of(*shape).requires_grad_()
    out = convolved.linear(x, layer.weight, layer.bias)
    assert out is not None
    assert calls == ["conv2d"]
    wanted = rows_of(*shape[:-1], 300, seed=1)
    found = torch.autograd.grad((out.relu() * wanted).sum(), [x, *layer.parameters()])
    exact = nn.Linear(256, 300, bias=bias).double()
    exact.load_state_dict(layer.state_dict())
    x64 = x.detach().double().requires_grad_()
    out64 = exact(x64)
    assert_near(out.detach(), out64.detach())
    kept = (out > 0).double()  # the same units, for gradients that rounding cannot switch
    expected = torch.autograd.grad((out64 * kept * wanted).sum(), [x64, *exact.parameters()])
    for one, other in zip(found, expected, strict=True):
        assert_near(one, other)


def test_linear_can_be_changed_in_place_and_differentiated_twice(slow_blas: None) -> None:
    weight = (rows_of(256, 256) / 256).requires_grad_()  # tanh tells its inputs apart
    x = rows_of(1024, 256, seed=1)
    grads = []
    for function in (convolved.linear, F.linear):
        out = function(x, weight, None)
        assert out is not None
        assert not out._is_view()
        (once,) = torch.autograd.grad(out.tanh_().sum(), weight, create_graph=True)
        (twice,) = torch.autograd.grad(once.square().sum(), weight)
        grads.append((once.detach(), twice))
    for one, other in zip(*grads, strict=True):
        assert_near(one, other.double())


class Marked(Tensor):
    """Some library's own."""


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (rows_of(1024, 256).double(), rows_of(256, 256).double()),
        (rows_of(256, 1024).t(), rows_of(256, 256)),  # its rows are no places
        (rows_of(1023, 256), rows_of(256, 256)),
        (rows_of(64, 256), rows_of(256, 256)),
        (rows_of(1024, 256), rows_of(3, 256)),
        (rows_of(1024, 256), rows_of(256, 255)),
        (rows_of(1024, 256).as_subclass(Marked), rows_of(256, 256)),
        (rows_of(256), rows_of(256, 256)),
    ],
)
def test_linear_is_left_to_torch(x: Tensor, weight: Tensor, slow_blas: None) -> None:
    assert convolved.linear(x, weight, None) is None


def test_linear_is_left_to_autocast(slow_blas: None) -> None:
    x, weight = rows_of(1024, 256), rows_of(256, 256)
    assert convolved.linear(x, weight, None) is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert convolved.linear(x, weight, None) is None


def test_times_is_a_matrix_product(slow_blas: None, calls: list[str]) -> None:
    a, b = rows_of(1024, 200), rows_of(200, 300, seed=1)
    assert_near(convolved.times(a, b), a.double() @ b.double())
    assert calls == ["conv2d"]


def test_a_probe_is_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    widths = [256, 256, 300, 10]
    layers = [
        part
        for d_in, d_out in pairwise(widths)
        for part in (nn.Linear(d_in, d_out), nn.Tanh())  # no switch that rounding could throw
    ]
    model, data = nn.Sequential(*layers), (rows_of(1024, 256), torch.arange(1024) % 10)
    found = []
    for slow in (False, True):
        monkeypatch.setattr(convolved, "_blas_is_slow", lambda slow=slow: slow)
        found.append(probe(model, data, batch_size=512))
    for name, layer in found[0].layers.items():
        other = found[1].layers[name]
        for what in ("input_moment", "grad_moment", "weight_grad_singular_values"):
            one, another = (torch.from_numpy(getattr(each, what).copy()) for each in (layer, other))
            assert_near(another, one.double())
        assert other.weight_grad_moment_lambda_max == pytest.approx(
            layer.weight_grad_moment_lambda_max, rel=1e-5
        )

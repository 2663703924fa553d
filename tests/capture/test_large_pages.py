"""Copies kept in large pages are copies, each in memory of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from condcli.capture.large_pages import ALIGNMENT, PIECE, forget_rest, kept_copy

SHAPES = [(), (0, 3), (1,), (7, 5), (129, 257), (PIECE // 4 + 3,)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_copy_has_the_same_numbers_in_other_memory(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    tensor = (torch.randn(shape) * 9).to(dtype)
    copy = kept_copy(tensor)
    assert copy.dtype == dtype
    assert torch.equal(copy, tensor)
    assert copy.data_ptr() % ALIGNMENT == 0
    tensor.fill_(1)
    assert not copy.numel() or copy.data_ptr() != tensor.data_ptr()


def test_a_copy_of_a_transposed_slice_is_contiguous_and_without_history() -> None:
    tensor = torch.randn(6, 8, requires_grad=True)
    copy = kept_copy(tensor.t()[2:5])
    assert copy.is_contiguous()
    assert not copy.requires_grad
    assert torch.equal(copy, tensor.detach().t()[2:5])


def test_copies_made_at_the_same_time_never_share_memory() -> None:
    def copies(number: int) -> list[torch.Tensor]:
        return [kept_copy(torch.full((3, 11 + i), float(number))) for i in range(200)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(copies, range(8)))
    for number, kept in enumerate(found):
        assert all((copy == number).all() for copy in kept)


def test_copies_outlive_the_piece_that_they_are_in() -> None:
    copy = kept_copy(torch.arange(10))
    forget_rest()
    kept_copy(torch.zeros(10_000))
    assert torch.equal(copy, torch.arange(10))

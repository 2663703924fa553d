"""Copies kept in large pages are copies, each in memory of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from condcli.capture import large_pages
from condcli.capture.large_pages import ALIGNMENT, KEPT, PIECE, give_back_pieces, kept_copy


@pytest.fixture(autouse=True)
def _no_pieces_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "_pieces", [])


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
    give_back_pieces()
    kept_copy(torch.zeros(10_000))
    assert torch.equal(copy, torch.arange(10))


def test_memory_serves_again_once_no_copy_is_in_it_and_not_before() -> None:
    first, second = (kept_copy(torch.full((PIECE // 4,), i)) for i in (1.0, 2.0))
    places = first.data_ptr(), second.data_ptr()
    third = kept_copy(torch.full((PIECE // 4,), 3.0))
    assert third.data_ptr() not in places
    view = second[5:7]
    del first, second
    fourth, fifth = (kept_copy(torch.full((PIECE // 4,), i)) for i in (4.0, 5.0))
    assert fourth.data_ptr() == places[0]
    assert fifth.data_ptr() not in (*places, third.data_ptr())
    assert view.tolist() == [2.0, 2.0]


def test_no_more_than_a_little_is_kept_for_the_next_probe() -> None:
    copies = [kept_copy(torch.zeros(PIECE // 4)) for _ in range(KEPT // PIECE + 3)]
    give_back_pieces()
    assert sum(map(len, large_pages._pieces)) >= len(copies) * PIECE
    del copies
    give_back_pieces()
    assert sum(map(len, large_pages._pieces)) <= KEPT

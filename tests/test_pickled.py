"""A pickle's tuples are measured without running it; damage is for others to find."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from condcli.errors import InputError
from condcli.pickled import MOST_LEAVES, check_tuples

START = b"\x80\x02"


def halves(deep: int) -> bytes:
    """The instructions of a tuple of two that are one, so many levels deep."""
    return b"K\x01" + b"2\x86" * deep


@pytest.mark.parametrize(
    "damage",
    [
        b"\x8d" + (2**62).to_bytes(8, "little"),  # text of more bytes than memory has
        b"\x8e" + (2**62).to_bytes(8, "little"),  # bytes
        b"X" + b"\xff\xff\xff\x7f",
        b"h\x07",  # a part that was never kept
        b"\x86",  # a tuple of what is not there
        b"t",  # and without a beginning
        b"\xff",  # no instruction
        b"X\x01\x00\x00\x00\xff",  # no UTF-8
        b"I9" + b"x" * 60 + b"\n",
        b"",
    ],
)
def test_damage_is_left_for_others_to_find(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(START + damage)
    with open(tmp_path / "m.pt", "rb") as file:
        check_tuples(tmp_path / "m.pt", file)
        assert file.tell() == 0


def test_a_tuple_of_too_many_parts_is_refused() -> None:
    deep = MOST_LEAVES.bit_length()
    check_tuples(Path("m.pt"), io.BytesIO(START + halves(deep - 1) + b"."))
    with pytest.raises(InputError, match=r"m\.pt holds tuples within tuples of more than"):
        check_tuples(Path("m.pt"), io.BytesIO(START + halves(deep) + b"."))

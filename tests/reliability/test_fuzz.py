"""A few seconds of fuzzing for each parser; `make fuzz` takes longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from condcli.errors import CondcliError, InputError
from tests.reliability import fuzz
from tests.reliability.formats import FORMATS
from tests.reliability.fuzz import PARSERS, Edit, edited, parses


@pytest.mark.parametrize("name", PARSERS)
def test_whatever_comes_is_refused_or_read(name: str) -> None:
    PARSERS[name]()


@pytest.mark.parametrize("name", ["CSV", "--shard"])
def test_a_parser_is_fuzzed_as_often_as_there_is_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "_examples", 3)
    for _ in range(2):
        PARSERS[name]()


def test_another_error_than_ours_is_found() -> None:
    with pytest.raises(ZeroDivisionError):
        parses(lambda: 1 // 0)

    def refuse() -> None:
        raise InputError("what", "do this")

    parses(refuse)


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (("flip", 0.5, b"\x01"), b"abbd"),
        (("insert", 0.5, b"xy"), b"abxycd"),
        (("overwrite", 0.25, b"xy"), b"axyd"),
        (("delete", 0.0, b".."), b"cd"),
        (("repeat", 0.5, b"."), b"abccd"),
        (("cut", 0.5, b""), b"ab"),
    ],
)
def test_edits_do_what_they_are_called(edit: tuple[str, float, bytes], found: bytes) -> None:
    assert edited(b"abcd", [edit]) == found


@pytest.mark.parametrize(
    ("name", "edits"),
    [
        ("distributed chunk", [("flip", 0.49565911684486524, b"\x00\x00\x00\x81")]),
        ("safetensors", [("cut", 0.0, b""), ("insert", 0.0, b"\x81")]),
    ],
)
def test_what_was_found_once_is_refused(name: str, edits: list[Edit], tmp_path: Path) -> None:
    form = FORMATS[name]
    form.make(tmp_path)
    file = tmp_path / form.file
    file.write_bytes(edited(file.read_bytes(), edits))
    with pytest.raises(CondcliError):
        form.read(tmp_path)

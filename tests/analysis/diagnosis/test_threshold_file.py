from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from condcli.analysis.diagnosis import DEFAULTS, Thresholds
from condcli.analysis.diagnosis.threshold_file import as_toml, read_thresholds
from condcli.errors import InputError


def read(tmp_path: Path, text: str) -> Thresholds:
    path = tmp_path / "bounds.toml"
    path.write_text(text)
    return read_thresholds(path)


def test_what_is_shown_can_be_read_back(tmp_path: Path) -> None:
    changed = replace(DEFAULTS, kappa=123.0, collapse=1e-7)
    assert read(tmp_path, as_toml(changed)) == changed
    assert all(f"# {item.metadata['meaning']}\n" in as_toml(changed) for item in fields(changed))


def test_what_a_file_does_not_name_stays_as_it_is(tmp_path: Path) -> None:
    assert read(tmp_path, "kappa = 7\n") == replace(DEFAULTS, kappa=7.0)
    assert read(tmp_path, "") == DEFAULTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kapa = 7", "no threshold 'kapa'; the nearest name is kappa;"),
        ("[kappa]\nx = 1", "kappa = {'x': 1} is no positive number"),
        ("kappa = -1", "kappa = -1 is no positive number"),
        ("kappa = 0", "is no positive number"),
        ("kappa = nan", "is no positive number"),
        ("kappa = inf", "is no positive number"),
        ("kappa = true", "is no positive number"),
        ("kappa = '7'", "is no positive number"),
        ("kappa = 7 kappa", "is no TOML"),
        ("kappa = 1\nkappa = 2", "is no TOML"),
        ("kappa = " + "[" * 5000, "is no TOML"),
        (f"kappa = {'9' * 400}", "is no positive number"),
        (f"kappa = {'9' * 5000}", "bounds.toml"),
        ("dying_share_error = 0.1", "dying_share_error 0.1 is below dying_share_warning 0.3"),
        ("# " + "x" * 2**20, "is too long"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=r"bounds\.toml") as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bounds.toml"
    path.write_bytes(b"kappa = 1 # \xff\x00")
    with pytest.raises(InputError, match="is no TOML"):
        read_thresholds(path)


def test_a_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml"):
        read_thresholds(tmp_path / "none.toml")

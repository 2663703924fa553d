"""Files of thresholds that are none, or whose numbers make no sense."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.reliability.bad_options import with_stats, words
from tests.reliability.cases import Case


def holding(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "t.toml").write_bytes(content) and None


def bounds(name: str, content: bytes, said: str) -> Case:
    """A diagnosis with such a file of thresholds."""
    line = "diagnose stats.h5 --thresholds t.toml"
    return Case(name, words(line, with_stats, holding(content)), 3, f"t.toml: {said}")


def other(name: str, line: str, make: Callable[[Path], None], said: str) -> Case:
    return Case(name, words(line, with_stats, make), 3, said)


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "t.toml")


CASES = [
    bounds("thresholds in words", b"kappa is large", "is no TOML"),
    bounds("thresholds on a web page", b"<!DOCTYPE html>", "is no TOML"),
    bounds("thresholds in HDF5", b"\x89HDF\r\n\x1a\n", "is no TOML"),
    bounds("thresholds with a NUL", b"kappa = 1\0", "is no TOML"),
    bounds("thresholds given twice", b"kappa = 1\nkappa = 2\n", "is no TOML"),
    bounds("thresholds too deep", b"kappa = " + 50_000 * b"[", "is no TOML"),
    bounds("thresholds too long", b"#" * (2**20 + 1), "is too long"),
    bounds("a threshold of no rule", b"kapa = 9\n", "there is no threshold 'kapa'"),
    bounds("a threshold's hostile name", b'"[/bold]\\u001b[31m" = 9\n', r"there is no threshold"),
    bounds("a threshold in a table", b"[kappa]\nx = 1\n", "kappa = {'x': 1} is no positive"),
    bounds("a threshold as text", b'kappa = "9"\n', "kappa = 9 is no positive number"),
    bounds("a threshold that is true", b"kappa = true\n", "kappa = True is no positive number"),
    bounds("a threshold of zero", b"kappa = 0\n", "kappa = 0 is no positive number"),
    bounds("a threshold below zero", b"kappa = -1.0\n", "kappa = -1.0 is no positive number"),
    bounds("a threshold of NaN", b"kappa = nan\n", "kappa = nan is no positive number"),
    bounds("a threshold without end", b"kappa = inf\n", "kappa = inf is no positive number"),
    bounds("a threshold of 400 digits", b"kappa = 1" + 400 * b"0", "kappa = 1000"),
    bounds("a threshold of 5,000 digits", b"kappa = 1" + 5000 * b"0", ""),
    bounds(
        "an error below its warning",
        b"dying_share_error = 0.1\n",
        "dying_share_error 0.1 is below dying_share_warning 0.33",
    ),
    other("thresholds nowhere", "diagnose --thresholds t.toml stats.h5", lambda _: None, "t.toml"),
    other("thresholds in a pipe", "report stats.h5 --thresholds t.toml", _pipe, "t.toml"),
    other(
        "thresholds in a folder",
        "diagnose --thresholds t.toml --show-thresholds",
        lambda folder: (folder / "t.toml").mkdir(),
        "t.toml",
    ),
    other(
        "thresholds for a page",
        "report stats.h5 --thresholds t.toml",
        holding(b"kappa = 0"),
        "t.toml: kappa = 0",
    ),
]

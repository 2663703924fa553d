"""Thresholds as a TOML file: NAME = NUMBER, one a line; those not named keep their default."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from condcli.analysis.diagnosis.thresholds import DEFAULTS, Thresholds
from condcli.errors import InputError
from condcli.files import opened

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LONGEST = 2**20  # bytes


def read_thresholds(path: Path) -> Thresholds:
    """The defaults with what the file says in their place.

    Raises `InputError` for a file that cannot be read or is no TOML, a name that is no threshold,
    a value that is no positive number, and an error's bound below the warning's.
    """
    with opened(path) as file:
        try:
            content = file.read(_LONGEST + 1)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read ({error.strerror or error})",
                "check the disk, or copy it anew",
            ) from error
    if len(content) > _LONGEST:
        raise InputError(f"{path}: is too long for a file of thresholds", "check the path")
    try:
        values = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # of TOML and of UTF-8
        raise InputError(
            f"{path}: is no TOML ({error})", "write NAME = NUMBER, one a line"
        ) from None
    return _checked(path, values)


def as_toml(thresholds: Thresholds) -> str:
    """A file that `read_thresholds` takes, with what each bound means."""
    lines = []
    for item in fields(thresholds):
        lines += [
            f"# {item.metadata['meaning']}",
            f"{item.name} = {getattr(thresholds, item.name)}",
        ]
    return "".join(f"{line}\n" for line in lines)


def _checked(path: Path, values: Mapping[str, Any]) -> Thresholds:
    known = [item.name for item in fields(Thresholds)]
    for name, value in values.items():
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise InputError(
                f"{path}: there is no threshold {name[:80]!r}",
                f"the nearest name is {near}; see condcli diagnose --show-thresholds",
            )
        number = type(value) in (int, float) and abs(value) < 1e300
        if not number or not math.isfinite(value) or value <= 0:
            raise InputError(
                f"{path}: {name} = {str(value)[:80]} is no positive number", "give one"
            )
    found = replace(DEFAULTS, **{name: float(value) for name, value in values.items()})
    for stem in ("depth_decades", "dying_share"):
        warning, error = (getattr(found, f"{stem}_{word}") for word in ("warning", "error"))
        if error < warning:
            raise InputError(
                f"{path}: {stem}_error {error:g} is below {stem}_warning {warning:g}",
                "give the error the larger of the two",
            )
    return found

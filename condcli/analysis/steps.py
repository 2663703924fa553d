"""The files of a run, and at which training step each of them stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from condcli import statsfile
from condcli.errors import InputError, UsageError

SUFFIX = ".h5"
StepFrom = Literal["file", "name", "order"]
_WORDS: Mapping[StepFrom, str] = {
    "file": "the checkpoints' own",
    "name": "the last numbers in the files' names",
    "order": "the files' places in the order given: not all have a step, nor a number in the name",
}
_NUMBER = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """One file of a run."""

    path: Path
    step: int
    # the checkpoint's own step, the last number in the file's name, or the place among the files
    step_from: StepFrom


def files_of(paths: Iterable[str | Path]) -> list[Path]:
    """The statistics files that paths stand for, in their order; a folder for its ``*.h5``.

    Files of one folder are in natural order: epoch_9 before epoch_10. Raises `InputError` for a
    folder without any and `UsageError` where nothing, or a file twice, is given.
    """
    files = [file for path in map(Path, paths) for file in _files(path)]
    if not files:
        raise UsageError("no statistics file is given", "name the files of a run, or its folder")
    seen = set[str]()
    for file in files:
        if (place := os.path.realpath(file)) in seen:
            raise UsageError(f"{file} is given twice", "pass each file once")
        seen.add(place)
    return files


def numbered(files: Sequence[Path]) -> list[Numbered]:
    """The files in the order of their steps.

    A step is the checkpoint's own where every file has one; else the last number in the name where
    every name has one; else the place of the file among those given, from 0. Raises `InputError`
    that names two files of one step, or a file that is no statistics file.
    """
    own = [statsfile.read(file).provenance.step for file in files]
    names = [_last_number(file) for file in files]
    choices: tuple[tuple[StepFrom, Sequence[int | None]], ...] = (
        ("file", own),
        ("name", names),
        ("order", range(len(files))),
    )
    step_from, steps = next(choice for choice in choices if None not in choice[1])
    found: dict[int, Path] = {}
    for file, step in zip(files, steps, strict=True):
        assert step is not None  # by the choice
        if step in found:
            raise InputError(
                f"{found[step]} and {file} are both of step {step}",
                "pass the files of one run, each step once",
            )
        found[step] = file
    return [Numbered(path=found[step], step=step, step_from=step_from) for step in sorted(found)]


def note_on(step_from: StepFrom) -> str:
    """What the steps are, for a person."""
    return f"note: steps are {_WORDS[step_from]}"


def inside(folder: Path) -> list[Path]:
    """The statistics files in a folder, in natural order."""
    found = [file for file in folder.glob(f"*{SUFFIX}") if not file.name.startswith(".")]
    return sorted(found, key=_natural)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if found := inside(path):
        return found
    raise InputError(
        f"{path} holds no statistics file (*{SUFFIX})",
        "probe the checkpoints of a run with condcli probe … -o FOLDER/",
    )


def _natural(path: Path) -> list[str | int]:
    """What paths sort by so that numbers in their names go by size: text and number in turn."""
    return [int(part) if n % 2 else part for n, part in enumerate(_NUMBER.split(path.name))]


def _last_number(path: Path) -> int | None:
    """None, too, where it is no number of steps: 64 bits must hold it."""
    numbers = _NUMBER.findall(path.stem)
    step = int(numbers[-1]) if numbers else None
    return step if step is None or step < 2**63 else None

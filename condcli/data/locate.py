"""Finding files, and fetching those of the known data sets."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from condcli.errors import InputError
from condcli.files import unchanged


def existing_file(path: str) -> Path:
    """The file at `path`. Raises InputError, with a near match, when there is none."""
    file = Path(path)
    if not file.is_file():
        near = get_close_matches(file.name, [other.name for other in file.parent.glob("*")])
        remedy = f"did you mean {file.with_name(near[0])}?" if near else "check the path"
        raise InputError(f"{file}: no such file", remedy)
    return file


def missing(name: str, *places: Path) -> InputError:
    """The error that the files of data set `name` are at none of `places`."""
    return InputError(
        f"{name} is not at {' or '.join(map(str, places))}",
        "get it with --download, or say with --root where it is",
    )


def read_bytes(name: str, file: Path) -> bytes:
    """The content of `file`, one of those of data set `name`."""
    if not file.is_file():
        raise missing(name, file)
    with unchanged(file) as stream:
        try:
            return stream.read()
        except OSError as error:
            raise InputError(
                f"{file}: cannot be read ({error.strerror})", "check its permissions and the disk"
            ) from error


def open_with_torchvision(name: str, root: Path, *, download: bool, **options: Any) -> Any:
    """torchvision's data set `name` under `root`, fetched first if `download` says so.

    Raises RuntimeError, of torchvision's making, when its files are missing or damaged.
    """
    from torchvision import datasets

    kind = getattr(datasets, name)
    if download:
        try:
            with redirect_stdout(sys.stderr):  # SVHN announces itself there
                return kind(root, download=True, **options)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{name} could not be downloaded to {root} ({type(error).__name__})",
                "check the network and the folder, or get the files yourself and give --root",
            ) from error
    return kind(root, **options)

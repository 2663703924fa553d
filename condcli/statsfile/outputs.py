"""Whether a file can be put where it is wanted, found out before anything is computed."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from condcli.errors import CannotFinishError
from condcli.statsfile.reading import is_hdf5
from condcli.statsfile.replacing import check_writable

_MIB = 2**20


def check_output(
    path: Path, *, force: bool = False, inputs: Sequence[Path] = (), size: int = 0
) -> None:
    """Raise `CannotFinishError` where `write` would, before anything is computed.

    So, too, where the output would take the place of one of the inputs, or so many bytes are not
    free.
    """
    folder = path.parent
    if not folder.is_dir():
        raise CannotFinishError(f"{path}: there is no folder {folder}", "create it first")
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise CannotFinishError(
            f"{path}: cannot be written ({error.strerror or error})", "name another file"
        ) from error
    if found is not None:
        _check_replaceable(path, found.st_mode, force=force, inputs=inputs)
    try:
        check_writable(folder)
    except OSError as error:
        raise CannotFinishError(
            f"{path}: the folder {folder.absolute()} is not writable ({error.strerror or error})",
            "name another folder",
        ) from error
    check_room(path, size)


def check_room(
    path: Path, size: int, *, remedy: str = "free some space, or name another folder"
) -> None:
    """Raise `CannotFinishError` unless so many bytes are free where the file is to be."""
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise CannotFinishError(
            f"{path}: takes {size / _MIB:,.1f} MiB, and {free / _MIB:,.1f} MiB are free there",
            remedy,
        )


def _check_replaceable(path: Path, mode: int, *, force: bool, inputs: Sequence[Path]) -> None:
    """Raise `CannotFinishError` for what stands at `path` already and is to stay."""
    if path.is_dir():
        raise CannotFinishError(f"{path}: is a folder", "name a file in it")
    if any(_is_in(path, item) for item in inputs):
        raise CannotFinishError(f"{path}: is also an input", "name another file")
    # A rename would replace the link and leave its target; nobody can want that of both.
    if stat.S_ISLNK(mode):
        raise CannotFinishError(f"{path}: is a symbolic link", "name the file itself")
    if not stat.S_ISREG(mode):
        raise CannotFinishError(f"{path}: is not a regular file", "name another file")
    if not force:
        raise CannotFinishError(
            f"{path}: already exists", "pass --force to replace it, or name another file"
        )


def _is_in(path: Path, place: Path) -> bool:
    """Whether `path` is the file at `place`, or one in the folder there that is no statistics."""
    if not path.is_file():
        return False
    if place.is_dir():
        return place.resolve() in path.resolve().parents and not is_hdf5(path)
    return place.exists() and path.samefile(place)

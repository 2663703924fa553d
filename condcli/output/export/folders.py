"""Folders that an export is put into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from condcli.errors import CannotFinishError


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """The folder is there within, made if need be; one that was made and stays empty goes again."""
    if folder.is_dir():
        yield
        return
    try:
        folder.mkdir()
    except OSError as error:
        raise CannotFinishError(
            f"{folder}: the folder cannot be made ({error.strerror or error})",
            "name another one with -o",
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()

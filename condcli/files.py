"""One open file for all that is done with an input: what was checked is what is read.

Nothing is mapped into memory: where a mapped file is cut short, the system ends the process by a
signal, and a file that is written anew changes the numbers that were checked.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from condcli.errors import CannotFinishError, CondcliError, InputError

HEAD = 512  # bytes that tell what a file is: a tar archive shows at offset 257
LFS = b"version https://git-lfs"
WEB_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head")


class Identity(NamedTuple):
    """What changes with a file: another one in its place, its length, a write to it."""

    device: int
    inode: int
    size: int  # bytes
    changed: int  # ns


def opened(path: Path) -> BinaryIO:
    """The regular file at `path`, open to be read. Raises InputError, naming it, for all others."""
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  (the caller closes it)
    except OSError as error:
        raise _not_opened(path, error) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InputError(f"{path} is not a regular file", "name a file")
    return file


@contextmanager
def unchanged(path: Path, like: Identity | None = None) -> Iterator[BinaryIO]:
    """The open file at `path`, at its beginning, which stays as it was found until the block ends.

    Raises InputError where it was written to meanwhile, also in place of the damage that a reader
    saw in a file of two halves; or where it is no longer the file that was `like` this.
    """
    with opened(path) as file:
        before = identity(file)
        if like not in (None, before):
            raise replaced(path)
        try:
            yield file
        except Exception as error:
            if identity(file) != before:
                raise replaced(path) from error
            if isinstance(error, OSError) and error.errno != errno.ENOMEM and not error.filename:
                why = error.strerror or error
                raise InputError(
                    f"{path} cannot be read to its end ({why})", "check the disk"
                ) from error
            raise
        if identity(file) != before:
            raise replaced(path)


def stand_in(head: bytes) -> tuple[str, str] | None:
    """What is there in place of a file, told by its first bytes, and what to do about it."""
    if head.startswith(LFS):
        return "a git-LFS pointer, not the file itself", "run git lfs pull"
    if head.lstrip().lower().startswith(WEB_PAGE):
        return "a web page, not the file itself", "download the file itself"
    return None


def refuse_stand_in(path: Path, file: BinaryIO) -> None:
    """Raises InputError for such a file, the open one at `path`, which is left at its beginning."""
    found = stand_in(file.read(HEAD))
    file.seek(0)
    if found:
        raise InputError(f"{path} is {found[0]}", found[1])


def identity(file: BinaryIO) -> Identity:
    """Of the open file, as it is now."""
    found = os.fstat(file.fileno())
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def replaced(path: Path) -> InputError:
    """The error for a file that is not what it was when the reading of it began."""
    return InputError(f"{path} was replaced while it was read", "run again")


@contextmanager
def without_panic() -> Iterator[None]:
    """Makes of a panic in a library's Rust, which is no Exception, a ValueError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(str(error)) from error


class Sources:
    """The files that one input is read from: each is opened once, and unchanged until all is."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._files: dict[Path, BinaryIO] = {}

    def __enter__(self) -> Sources:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def open(self, path: Path) -> BinaryIO:
        """The file at `path`, at its beginning; InputError as of `opened`."""
        if path not in self._files:
            self._files[path] = self._stack.enter_context(unchanged(path))
        self._files[path].seek(0)
        return self._files[path]

    def size(self, path: Path) -> int:
        """Bytes in the file at `path`; InputError as of `opened`."""
        return identity(self.open(path)).size


def _without_waiting(path: str, flags: int) -> int:
    """A descriptor at once: the opening of a FIFO would wait for one who writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _not_opened(path: Path, error: OSError) -> CondcliError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist", "check the path")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path} is not a regular file", "name a file")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return CannotFinishError(f"{path}: too many files are open", "allow more with ulimit -n")
    return InputError(
        f"{path} cannot be read: {error.strerror}", "check the path and its permissions"
    )

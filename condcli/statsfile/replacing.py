"""Put a file in place whole or not at all, whatever happens while it is written.

A reader sees the old file or the new one; a full disk, an error, a signal, `kill -9` and a power
loss leave what was there. Where the system can, the file has no name until it is complete, so that
there is nothing to clean up. Elsewhere it is called .condcli-XXXXXXXXXXXX.tmp and locked: the next
file that is written to the folder removes those that nobody holds a lock on.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from condcli.errors import CannotFinishError

_TEMPORARY = re.compile(r"\.condcli-[0-9a-f]{12}\.tmp")


@contextmanager
def replacing(
    path: Path,
    *,
    force: bool,
    mode: int | None = None,
    remedy: str = "free some space or name another file",
) -> Iterator[BinaryIO]:
    """An empty file to write and read back, which stands at `path` when the block ends well.

    Until then it is seen nowhere, and after an exception it is gone. What stood at `path` is
    replaced only with `force`, also where it came there meanwhile. The file gets the usual
    permissions, or those of `mode`. Raises `CannotFinishError`, with `remedy`, for every OSError,
    also for one of the block.
    """
    try:
        _remove_leftovers(path.parent)
        file, temporary, named = _begin(path.parent)
        try:
            with file:
                yield file
                file.flush()
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
                if not named and force:  # a name is what can be renamed
                    _link(file, temporary)
                    named = True
                _place(temporary if named else file, path, force=force)
        finally:
            with suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise CannotFinishError(
            f"{path}: cannot be written ({error.strerror or error})", remedy
        ) from error
    _sync_folder(path.parent)


def check_writable(folder: Path) -> None:
    """Raise OSError where no file can be begun in the folder; leaves nothing there."""
    file, temporary, named = _begin(folder)
    with file:
        if named:  # while the lock is held: nobody else takes it for a leftover
            temporary.unlink()


def _begin(folder: Path) -> tuple[BinaryIO, Path, bool]:
    """An empty locked file of the folder, the name for it, and whether it has that name already."""
    while True:
        temporary = folder / f".condcli-{secrets.token_hex(6)}.tmp"
        descriptor = _unnamed(folder, temporary)
        named = descriptor is None
        if descriptor is None:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        file = open(descriptor, "w+b")  # noqa: SIM115
        # Another process may have taken it for a leftover before the lock was there.
        if _lock(file, wait=True) and named and not _is_at(file, temporary):
            file.close()
            continue
        return file, temporary, named


def _unnamed(folder: Path, name: Path) -> int | None:
    """The descriptor of a file without a name; None where the system has none, or names none.

    Whether it gives them names is tried out with `name`: at the end it would be too late.
    """
    try:
        with open(os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o666), "rb") as trial:
            _link(trial, name)
        os.unlink(name)
        return os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o666)
    except (OSError, AttributeError):
        return None


def _place(source: BinaryIO | Path, path: Path, *, force: bool) -> None:
    """Let the file be found at `path`; without `force`, only where there is nothing."""
    try:
        if isinstance(source, Path) and force:
            os.replace(source, path)
        else:
            _link(source, path)
    except FileExistsError:
        raise CannotFinishError(
            f"{path}: already exists", "pass --force to replace it, or name another file"
        ) from None


def _link(source: BinaryIO | Path, path: Path) -> None:
    """Give a file the name `path`; FileExistsError where there is one already."""
    if not isinstance(source, Path):
        descriptor = source.fileno()
        # Only with a folder's descriptor, though it is not looked at, does Python follow the link.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
        return
    try:
        os.link(source, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: the next best
        if os.path.lexists(path):
            raise FileExistsError from None
        os.rename(source, path)


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in the folder, where that can be done."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError), open(entry.path, "rb") as file:
                    if _lock(file, wait=False):
                        os.unlink(entry.path)


def _lock(file: BinaryIO, *, wait: bool) -> bool:
    """Whether the file could be locked against `_remove_leftovers`."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (OSError, ImportError):  # a file system, or a system, without such locks
        return False
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power loss, as far as the folder lets us."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a folder that one may write to, but not read
        if hasattr(os, "sync"):
            os.sync()
        return
    with suppress(OSError):  # the file is in place and whole, whatever comes of this
        os.fsync(descriptor)
    os.close(descriptor)

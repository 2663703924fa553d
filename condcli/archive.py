"""Zip archives, checked before anything in them is read: their directory, then every checksum.

torch.load itself ignores the CRC and follows deflated entries of any size.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any

from condcli import machine
from condcli.errors import InputError, is_out_of_memory

MOST_ENTRIES = 100_000  # a tensor is an entry; the deepest networks have some thousands
MOST_LISTED = 128 * MOST_ENTRIES  # bytes of a directory: zipfile reads all of it at once
MOST_DEFLATED = 100  # times: of real weights, deflate takes away a tenth
# A flipped bit can also make an entry look encrypted, a RuntimeError.
READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
DAMAGED = "save or download it again"
CHUNK = 1 << 20  # bytes
MOST_THREADS = 4


def entries_of(path: Path, file: IO[bytes]) -> list[zipfile.ZipInfo]:
    """The entries of the archive that is open as `file`; InputError if it is not whole."""
    try:
        with zipfile.ZipFile(_Bounded(file)) as archive:
            entries = archive.infolist()
    except READ_ERRORS as error:
        if is_out_of_memory(error):
            raise
        raise InputError(f"{path} is truncated or damaged", DAMAGED) from None
    if len(entries) > MOST_ENTRIES:
        raise InputError(f"{path} has more than {MOST_ENTRIES:,} entries", DAMAGED)
    return entries


def check_archive(path: Path, file: IO[bytes]) -> None:
    """Raises InputError unless `file` is an archive as torch writes it, every entry whole.

    `path` names it in errors; the file is left at its beginning.
    """
    _check_directory(path, entries_of(path, file), size=file.seek(0, os.SEEK_END))
    check_sums(path, file, remedy=f"{DAMAGED} (with torch's CRC-32 option on, as it is by default)")


def check_sums(path: Path, file: IO[bytes], *, remedy: str = DAMAGED) -> None:
    """Raises InputError for an entry that is damaged; the file is left at its beginning."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = _damaged(archive)
    except READ_ERRORS as error:
        if is_out_of_memory(error):
            raise
        raise InputError(f"{path} is truncated or damaged", DAMAGED) from None
    if damaged is not None:
        raise InputError(f"{path} is damaged: {damaged!r} does not have its checksum", remedy)
    file.seek(0)


def check_unpacked(path: Path, file: IO[bytes], *, harmless: int = 0) -> None:
    """Raises InputError for an archive that unpacks to far more than it is, and `harmless` bytes.

    And CannotFinishError where that does not fit into memory. The file is left at its beginning.
    """
    claimed = sum(entry.file_size for entry in entries_of(path, file))
    machine.require(claimed, f"reading {path}", machine.LARGER)
    if claimed > max(harmless, MOST_DEFLATED * file.seek(0, os.SEEK_END)):
        raise InputError(
            f"{path} unpacks to {claimed:,} bytes, far more than it is", "save it uncompressed"
        )
    file.seek(0)


class _Bounded:
    """A file of which no more is read at a time than the largest directory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        if size > MOST_LISTED:
            raise zipfile.BadZipFile
        return self._file.read(size)


def _check_directory(path: Path, entries: Sequence[zipfile.ZipInfo], *, size: int) -> None:
    names = [entry.filename for entry in entries]
    folders = {name.partition("/")[0] for name in names if "/" in name}
    faults = {
        "two entries of the same name": len(set(names)) < len(names),
        "more than one top folder": len(folders) > 1,
        "compressed entries": any(entry.compress_type != zipfile.ZIP_STORED for entry in entries),
        "entries larger than the file": sum(entry.file_size for entry in entries) > size,
    }
    for fault, found in faults.items():
        if found:
            raise InputError(f"{path} has {fault}, as torch.save never writes", DAMAGED)


def _damaged(archive: zipfile.ZipFile) -> str | None:
    """The first entry without its checksum. Both reading and CRC-32 let other threads run."""
    entries = archive.infolist()
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        whole = pool.map(partial(_is_whole, archive), entries)
        return next(
            (entry.filename for entry, ok in zip(entries, whole, strict=True) if not ok), None
        )


def _is_whole(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(entry) as file:
            while file.read(CHUNK):
                pass
    except (zipfile.BadZipFile, OverflowError):  # the latter of a place beyond all files
        return False
    return True

"""Zip archives, told apart by their entries and checked before anything in them is read.

torch.load itself ignores the CRC, follows deflated entries of any size, and opens TorchScript and
exported programs, which hold code, along other ways than its weights-only guard.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from condcli.errors import InputError

Program = Literal["TorchScript", "exported program"]

MOST_ENTRIES = 100_000  # a tensor is an entry; the deepest networks have some thousands
# A flipped bit can also make an entry look encrypted, a RuntimeError.
READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
DAMAGED = "save or download the checkpoint again"
CHUNK = 1 << 20  # bytes
MOST_THREADS = 4


def archive_kind(path: Path) -> Program | Literal["torch", "numpy"]:
    """What the zip archive at `path` holds; InputError if it is none that holds weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except READ_ERRORS:
        raise InputError(f"{path} is truncated or damaged", DAMAGED) from None
    inner = [str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in names]
    if "constants.pkl" in inner:
        return "TorchScript"
    if "archive_format" in inner or any(fnmatch(name, "models/*.json") for name in inner):
        return "exported program"
    if names and all(name.endswith(".npy") for name in names):
        return "numpy"
    if "data.pkl" in inner:
        return "torch"
    if "model.weights.h5" in names:
        raise InputError(f"{path} is a Keras model", "save the weights of its twin in PyTorch")
    raise InputError(
        f"{path} is a zip archive, but not one of torch.save",
        "give a checkpoint written by torch.save, or a .safetensors file",
    )


def check_archive(path: Path, file: IO[bytes] | None = None) -> None:
    """Raises InputError unless `path` is a whole zip archive, every entry with its checksum.

    `file` is the open archive where that is only a part of the file at `path`.
    """
    try:
        with zipfile.ZipFile(file or path) as archive:
            _check_directory(path, archive.infolist())
            damaged = _damaged(archive)
    except READ_ERRORS:
        raise InputError(f"{path} is truncated or damaged", DAMAGED) from None
    if damaged is not None:
        raise InputError(
            f"{path} is damaged: {damaged!r} does not have its checksum",
            f"{DAMAGED} (with torch's CRC-32 option on, as it is by default)",
        )


def _check_directory(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    folders = {name.partition("/")[0] for name in names if "/" in name}
    faults = {
        f"more than {MOST_ENTRIES:,} entries": len(names) > MOST_ENTRIES,
        "two entries of the same name": len(set(names)) < len(names),
        "more than one top folder": len(folders) > 1,
        "compressed entries": any(entry.compress_type != zipfile.ZIP_STORED for entry in entries),
        "entries larger than the file": sum(e.file_size for e in entries) > path.stat().st_size,
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
    except zipfile.BadZipFile:
        return False
    return True

"""The zip container of torch.save, checked before torch reads it.

torch.load itself ignores the CRC, follows deflated entries of any size, and opens TorchScript and
exported programs, which hold code, along other ways than its weights-only guard.
"""

from __future__ import annotations

import zipfile
import zlib
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from condcli.errors import InputError, UnsafeError

MOST_ENTRIES = 100_000  # a tensor is an entry; the deepest networks have some thousands
# A flipped bit can also make an entry look encrypted, a RuntimeError.
READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
DAMAGED = "save or download the checkpoint again"


def check_archive(path: Path) -> None:
    """Raises unless `path` is a whole zip archive as torch.save writes it.

    UnsafeError for TorchScript and exported programs, else InputError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _refuse_programs(path, [entry.filename for entry in entries])
            _check_directory(path, entries)
            damaged = archive.testzip()
    except READ_ERRORS:
        raise InputError(f"{path} is truncated or damaged", DAMAGED) from None
    if damaged is not None:
        raise InputError(
            f"{path} is damaged: {damaged!r} does not have its checksum",
            f"{DAMAGED} (with torch's CRC-32 option on, as it is by default)",
        )


def _refuse_programs(path: Path, names: list[str]) -> None:
    inner = [str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in names]
    if "constants.pkl" in inner:
        kind = "a TorchScript program"
    elif "archive_format" in inner or any(fnmatch(name, "models/*.json") for name in inner):
        kind = "an exported program (.pt2)"
    else:
        return
    raise UnsafeError(
        f"{path} is {kind}: it holds code, which condcli does not run",
        "save the network's state_dict() and name its architecture with --arch",
    )


def _check_directory(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    folders = {name.partition("/")[0] for name in names}
    if not any(PurePosixPath(name).match("*/data.pkl") for name in names):
        raise InputError(
            f"{path} is a zip archive, but not one of torch.save",
            "give a checkpoint written by torch.save, or a .safetensors file",
        )
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

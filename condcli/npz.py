"""Archives of NumPy arrays, checked for what they claim before any of it is made."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

from numpy.lib import format

from condcli.archive import DAMAGED, READ_ERRORS, check_sums, check_unpacked
from condcli.errors import InputError, is_out_of_memory

_HEADER = {(1, 0): format.read_array_header_1_0, (2, 0): format.read_array_header_2_0}


def check_npz(path: Path, file: IO[bytes], *, harmless: int = 0) -> None:
    """Raises InputError unless each entry of the archive is whole, and an array of its own size.

    So, too, where it unpacks to far more than it is, and more than the `harmless` bytes. `file` is
    the open one at `path`, and left at its beginning.
    """
    check_unpacked(path, file, harmless=harmless)
    check_sums(path, file)
    try:
        with zipfile.ZipFile(file) as archive:
            sound = all(_is_sized(archive, entry) for entry in archive.infolist())
    except (*READ_ERRORS, KeyError) as error:
        if is_out_of_memory(error):
            raise
        sound = False
    if not sound:
        raise InputError(f"{path} is truncated or damaged", DAMAGED)
    file.seek(0)


def _is_sized(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Whether the bytes of the array are those of its shape; of objects there is no telling."""
    with archive.open(entry) as member:
        shape, _, dtype = _HEADER[format.read_magic(member)](member)
        claimed = math.prod(shape) * dtype.itemsize
        return dtype.hasobject or claimed == entry.file_size - member.tell()

"""Code hidden in a pickle, which leaves a file when it is run; and files that can hide it."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.reliability.cases import CANARY


class Payload:
    """Makes the canary's file when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / CANARY

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self.file,)


def pickled(folder: Path) -> bytes:
    """A pickle of nothing but the payload."""
    return pickle.dumps(Payload(folder), 2)


def tar_of(members: Mapping[str, bytes]) -> bytes:
    """A tar archive with these files."""
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return image.getvalue()


def zip_of(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive with these entries."""
    image = io.BytesIO()
    with zipfile.ZipFile(image, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return image.getvalue()


def members_of(image: bytes) -> dict[str, bytes]:
    """The entries of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(image)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def flipped(image: bytes, place: int, bit: int = 1) -> bytes:
    """The bytes with one bit turned."""
    damaged = bytearray(image)
    damaged[place] ^= bit
    return bytes(damaged)


def shared_tuple() -> bytes:
    """The instructions for a tuple of 2^60 leaves, which would be hashed one by one."""
    key: tuple[Any, ...] = (1,)
    for _ in range(60):
        key = (key, key)
    return pickle.dumps(key, 2)[2:-1]

"""The `.metadata` of a torch Distributed Checkpoint: which tensor is where.

It is a pickle, which torch's own reader would run. Here an unpickler reads it to which every class
of the format is one of ours, and every other name an offence.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import torch

from condcli.archive import DAMAGED
from condcli.errors import InputError, UnsafeError

_FORMAT = "torch.distributed.checkpoint.metadata."
_RECORDS = {
    *(
        _FORMAT + name
        for name in (
            "Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata",
            "ChunkStorageMetadata", "TensorProperties", "StorageMeta", "_MEM_FORMAT_ENCODING",
        )
    ),
    "torch.distributed.checkpoint.filesystem._StorageInfo",
    "torch.distributed._shard.sharded_tensor.metadata.TensorProperties",
    "torch.serialization._get_layout",
}  # fmt: skip
_PATHS = ("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath")


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of a file: a torch.save archive of their own."""

    file: str
    start: int
    length: int

    def is_within(self, size: int) -> bool:
        """Whether the bytes lie in a file of so many."""
        return 0 <= self.start <= self.start + self.length <= size


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a tensor: where it is in the folder, and where in the tensor."""

    place: Place
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    def is_within(self, size: tuple[int, ...]) -> bool:
        """Whether the chunk lies in a tensor of this size."""
        return len(size) == len(self.sizes) == len(self.offsets) and all(
            offset >= 0 and offset + length <= most
            for offset, length, most in zip(self.offsets, self.sizes, size, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One value of what was saved: a tensor in chunks, or anything else in one piece."""

    keys: tuple[str, ...]  # the way to it through the nested dicts
    size: tuple[int, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    piece: Place | None = None  # of what is no tensor


def read_metadata(path: Path, file: IO[bytes]) -> dict[str, Entry]:
    """All entries of the checkpoint by name, of the open `.metadata` at `path`.

    Raises UnsafeError when a class is named that is not the format's, InputError for damage.
    """
    try:
        return dict(_entries(_unpickled(file)))
    except UnsafeError as error:
        raise UnsafeError(f"{path}: {error.message}", error.remedy) from None
    except (pickle.UnpicklingError, EOFError, RecursionError, MemoryError, *_MALFORMED):
        raise InputError(f"{path} is truncated or damaged", DAMAGED) from None


# What a pickle that is none of the format's raises when it is run, or looked at.
_MALFORMED = (
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)


class _Record:
    """Stands for an object of the metadata: its state, of which nothing is run."""

    def __init__(self, *args: object) -> None:
        self.fields: Any = None

    def __setstate__(self, state: object) -> None:
        self.fields = state

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


class _Unpickler(pickle.Unpickler):
    """Reads the format's classes as records."""

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _RECORDS:
            return type(name, (_Record,), {})
        if full in _PATHS:
            return PurePosixPath
        if full == "torch.Size":
            return tuple
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise UnsafeError(
            f"the metadata name {full!r}, which is not of the format",
            "take the checkpoint from where you trust its origin",
        )


def _unpickled(file: IO[bytes]) -> _Record:
    metadata = _Unpickler(file).load()
    if not isinstance(metadata, _Record):
        raise TypeError
    return metadata


def _entries(metadata: _Record) -> Sequence[tuple[str, Entry]]:
    nesting: Mapping[str, Sequence[object]] = metadata.fields.get("planner_data") or {}
    places = _places(metadata)
    entries = []
    for name, record in metadata["state_dict_metadata"].items():
        keys = tuple(map(str, nesting.get(name, (name,))))
        if type(record).__name__ != "TensorStorageMetadata":
            entries.append((name, Entry(keys=keys, piece=places.get((name, ())))))
            continue
        parts = [(_shape(chunk["offsets"]), _shape(chunk["sizes"])) for chunk in record["chunks"]]
        chunks = tuple(
            Chunk(places[name, offsets], offsets, sizes)
            for offsets, sizes in parts
            if (name, offsets) in places
        )
        entries.append((name, Entry(keys=keys, size=_shape(record["size"]), chunks=chunks)))
    return entries


def _places(metadata: _Record) -> dict[tuple[str, tuple[int, ...]], Place]:
    """Where each tensor's chunks are, by its name and their offsets; all else by name and ()."""
    places = {
        (index["fqn"], tuple(index.fields.get("offset") or ())): Place(
            _text(place["relative_path"]), place["offset"], place["length"]
        )
        for index, place in metadata["storage_data"].items()
    }
    if any(type(n) is not int for place in places.values() for n in (place.start, place.length)):
        raise TypeError
    if len({(place.file, place.start) for place in places.values()}) < len(places):
        raise ValueError  # a flipped bit can point to another tensor's bytes
    return places


def _shape(values: Sequence[Any]) -> tuple[int, ...]:
    """As a tensor's: torch counts its strides in 63 bits, also where a size is 0."""
    if any(type(value) is not int or value < 0 for value in values):
        raise TypeError(f"{values!r} is no shape")
    if math.prod(value or 1 for value in values) >= 2**63:
        raise ValueError(f"{values!r} is no tensor's shape")
    return tuple(values)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no path")
    return value

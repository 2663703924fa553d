"""torch Distributed Checkpoint folders, as FSDP training saves: a `.metadata` and *.distcp files.

`.metadata` is a pickle that says which tensor is cut into which chunks, and where those are. It is
read without torch's own reader, which would run it: by an unpickler to which every class of the
format is one of ours, and every other name an offence.
"""

from __future__ import annotations

import io
import math
import pickle
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from condcli.errors import InputError, UnsafeError
from condcli.models.formats.archive import DAMAGED, check_archive
from condcli.models.formats.content import Content
from condcli.models.formats.torch_file import load_data, unreadable
from condcli.models.state_dict import NO_WEIGHTS

METADATA = ".metadata"

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
class _Chunk:
    """A part of a tensor: the file and bytes that hold it, its place and size in the tensor."""

    file: str
    start: int
    length: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


def is_distributed(folder: Path) -> bool:
    """Whether `folder` is a Distributed Checkpoint."""
    return (folder / METADATA).is_file()


def read_distributed(folder: Path) -> Content:
    """The tensors of the Distributed Checkpoint in `folder`, but its optimizer's, nested as saved.

    Raises UnsafeError when the metadata name anything but the format's own classes, and InputError
    when they or the files do not hold together.
    """
    try:
        metadata = _metadata(folder / METADATA)
        tensors, files = _tensors(folder, metadata)
    except (AttributeError, TypeError, KeyError, IndexError, ValueError, EOFError):
        raise InputError(f"{folder / METADATA} is damaged", DAMAGED) from None
    return Content(
        data=tensors,
        format="torch Distributed Checkpoint",
        files=(*(folder / name for name in sorted(files)), folder / METADATA),
    )


class _Record:
    """Stands for an object of the metadata: its arguments and state, of which nothing is run."""

    def __init__(self, *args: object) -> None:
        self.args = args
        self.fields: Any = None

    def __setstate__(self, state: object) -> None:
        self.fields = state

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


class _Unpickler(pickle.Unpickler):
    """Reads the metadata's classes as records."""

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


def _metadata(path: Path) -> _Record:
    try:
        metadata = _Unpickler(io.BytesIO(path.read_bytes())).load()
    except UnsafeError as error:
        raise UnsafeError(f"{path}: {error.message}", error.remedy) from None
    except (pickle.UnpicklingError, RecursionError, MemoryError, OverflowError):
        raise InputError(f"{path} is truncated or damaged", DAMAGED) from None
    if not isinstance(metadata, _Record):
        raise InputError(f"{path} is no metadata of a checkpoint", DAMAGED)
    return metadata


def _tensors(folder: Path, metadata: _Record) -> tuple[dict[str, object], set[str]]:
    """The tensors in nested dicts, and the names of the files that they are from."""
    chunks = _chunks(metadata)
    nesting = metadata.fields.get("planner_data") or {}
    tensors: dict[str, object] = {}
    files: set[str] = set()
    for name, entry in metadata["state_dict_metadata"].items():
        keys = nesting.get(name, (name,))
        if type(entry).__name__ != "TensorStorageMetadata" or _is_training_state(keys):
            continue
        parts = chunks.get(name, [])
        files |= {part.file for part in parts}
        inner = tensors
        for key in keys[:-1]:
            inner = inner.setdefault(str(key), {})  # type: ignore[assignment]  # dicts, but the last
        inner[str(keys[-1])] = _assembled(folder, name, tuple(entry["size"]), parts)
    return tensors, files


def _is_training_state(keys: tuple[object, ...]) -> bool:
    first, *_ = str(keys[0]).split(".")
    return first.lower().startswith(NO_WEIGHTS)


def _chunks(metadata: _Record) -> dict[str, list[_Chunk]]:
    """The parts of each tensor by its name."""
    sizes = {
        (name, tuple(chunk["offsets"])): tuple(chunk["sizes"])
        for name, entry in metadata["state_dict_metadata"].items()
        if type(entry).__name__ == "TensorStorageMetadata"
        for chunk in entry["chunks"]
    }
    parts: dict[str, list[_Chunk]] = {}
    for index, place in metadata["storage_data"].items():
        key = (index["fqn"], tuple(index.fields.get("offset") or ()))
        if key in sizes:
            file, start, length = place["relative_path"], place["offset"], place["length"]
            parts.setdefault(key[0], []).append(_Chunk(file, start, length, key[1], sizes[key]))
    return parts


def _assembled(folder: Path, name: str, size: tuple[int, ...], parts: list[_Chunk]) -> Tensor:
    """The tensor of all its chunks."""
    if sum(math.prod(part.sizes) for part in parts) != math.prod(size):
        raise InputError(f"{folder}: chunks of the tensor {name!r} are missing", DAMAGED)
    whole: Tensor | None = None
    for part in parts:
        tensor = _read(folder, part)
        if tuple(tensor.shape) != part.sizes:
            raise InputError(
                f"{folder / part.file}: a chunk of {name!r} is not of its size", DAMAGED
            )
        if part.sizes == size:
            return tensor
        if whole is None:  # NaN, so that chunks which overlap, and leave a gap, do not pass
            fill = float("nan") if tensor.is_floating_point() else 0
            whole = torch.full(size, fill, dtype=tensor.dtype)
        whole[tuple(map(_slice, part.offsets, part.sizes))] = tensor
    assert whole is not None  # no parts, and yet a number of entries
    return whole


def _slice(offset: int, length: int) -> slice:
    return slice(offset, offset + length)


def _read(folder: Path, part: _Chunk) -> Tensor:
    """The chunk's own little torch.save archive, checked and read as any other."""
    if PurePath(part.file).name != part.file:
        raise InputError(f"{folder} names {part.file!r}, which is no file in it", DAMAGED)
    path = folder / part.file
    if not path.is_file():
        raise InputError(f"{folder}: the file {part.file} is missing", "put it beside .metadata")
    with path.open("rb") as file:
        file.seek(part.start)
        image = io.BytesIO(file.read(part.length))
    check_archive(path, image)
    image.seek(0)
    try:
        tensor = load_data(image)
    except pickle.UnpicklingError:
        raise UnsafeError(f"{path} holds pickled code", "have it saved with tensors only") from None
    except Exception as error:
        raise unreadable(path, error) from None
    if not isinstance(tensor, Tensor):
        raise InputError(f"{path} holds no tensor where one should be", DAMAGED)
    return tensor

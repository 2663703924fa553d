"""`.safetensors` files, read number by number into memory of the tensors' own.

Not by the library, which maps a file into memory, or else holds it there twice.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from condcli import machine
from condcli.archive import DAMAGED
from condcli.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_HEADER = 100 << 20  # bytes: the format's own limit
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    dtype: Any  # torch's
    shape: tuple[int, ...]
    start: int  # in bytes after the header
    end: int


def read_safetensors(path: Path, file: IO[bytes]) -> dict[str, Tensor]:
    """The tensors of the open `file` at `path` by name, in the order in which they are there.

    Raises InputError for anything that is not of the format: the tensors must fill the file without
    gaps, each as large as its type and shape say. CannotFinishError where memory is too short.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    machine.require(size, f"reading {path}", machine.LARGER)
    try:
        entries = _entries(file, size)
        return {entry.name: _tensor(file, entry) for entry in entries}
    except (ValueError, RecursionError):
        raise InputError(f"{path} is truncated or damaged", DAMAGED) from None


def _entries(file: IO[bytes], size: int) -> list[_Entry]:
    """The tensors that the header tells of, in the order of their places."""
    header, data = _header(file, size)
    found = [_entry(name, words) for name, words in header.items() if name != "__metadata__"]
    entries = sorted(found, key=lambda entry: (entry.start, entry.end))
    starts = [entry.start for entry in entries]
    ends = [entry.end for entry in entries]
    if [*starts, data] != [0, *ends]:
        raise ValueError("gaps or overlaps")
    return entries


def _header(file: IO[bytes], size: int) -> tuple[Mapping[str, Any], int]:
    """The header, and how many bytes follow it."""
    length = int.from_bytes(file.read(8), "little")
    if length > min(LARGEST_HEADER, size - 8):
        raise ValueError(f"a header of {length} bytes")
    header = json.loads(file.read(length).decode(), object_pairs_hook=_distinct)
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    return header, size - 8 - length


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _entry(name: str, words: Any) -> _Entry:
    import torch

    if not isinstance(words, dict) or words.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name}: no tensor")
    shape, offsets = words["shape"], words["data_offsets"]
    numbers = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [-1]
    if len(numbers) != len(shape) + 2 or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError(f"{name}: no shape, or no place")
    if words["dtype"] not in DTYPES:
        raise ValueError(f"{name}: an unknown type")
    dtype = getattr(torch, DTYPES[words["dtype"]])
    if offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name}: not of its size")
    return _Entry(name, dtype, tuple(shape), *offsets)


def _tensor(file: IO[bytes], entry: _Entry) -> Tensor:
    import torch

    content = torch.empty(entry.end - entry.start, dtype=torch.uint8)
    if file.readinto(content.numpy().data) != len(content):  # type: ignore[attr-defined]
        raise ValueError(f"{entry.name}: the file ends")
    return content.view(entry.dtype).reshape(entry.shape)

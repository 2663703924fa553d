"""A file of numbers to go on from: a safetensors file, so data only, with a digest over all of it.

Beside the tensors it has notes, words of JSON. Nothing of it is ever run or mapped into memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from condcli.capture.totals import tensor_bytes
from condcli.errors import InputError

VERSION = 2
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_OF_NAME = {name: dtype for dtype, name in DTYPES.items()}
LENGTH_BYTES = 8  # of the header's length, before it
DIGEST_SIZE = 32
# The digest stands first, at a place that is known; it is taken with zeros for itself.
BEFORE_DIGEST = b'{"__metadata__":{"digest":"'
_DIGEST_AT = slice(len(BEFORE_DIGEST), len(BEFORE_DIGEST) + 2 * DIGEST_SIZE)
NO_DIGEST = "0" * (2 * DIGEST_SIZE)
FORMAT = "condcli-state"
# What damaged bytes raise, here and where words become values.
DAMAGES = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
ANEW = "leave out --resume and pass --force to begin anew"


def write(file: BinaryIO, notes: Mapping[str, Any], tensors: Sequence[Tensor]) -> None:
    """Write notes and contiguous tensors, one after the other; ``file`` can be sought in."""
    header = _header(notes, tensors)
    digest = blake2b(header, digest_size=DIGEST_SIZE)
    file.write(len(header).to_bytes(LENGTH_BYTES, "little"))
    file.write(header)
    for tensor in tensors:
        content = tensor_bytes(tensor)
        digest.update(content)
        file.write(content)
    file.seek(LENGTH_BYTES + _DIGEST_AT.start)
    file.write(digest.hexdigest().encode())


def is_state(path: Path) -> bool:
    """Whether the regular file at ``path`` begins as a state does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(LENGTH_BYTES)
        return file.read(len(BEFORE_DIGEST)) == BEFORE_DIGEST


def read_notes(path: Path) -> dict[str, Any]:
    """The notes alone, before the digest is looked at; InputError for no state of this version."""
    with _read_errors(path), _opened(path) as file:
        return _notes(json.loads(_read_header(file)), path)


def read(path: Path) -> tuple[dict[str, Any], list[Tensor]]:
    """The notes and the tensors, on the CPU; InputError for a damaged file or none of ours."""
    with _read_errors(path), _opened(path) as file:
        raw = _read_header(file)
        header = json.loads(raw)
        notes = _notes(header, path)
        digest = blake2b(
            raw[: _DIGEST_AT.start] + NO_DIGEST.encode() + raw[_DIGEST_AT.stop :],
            digest_size=DIGEST_SIZE,
        )
        tensors = [_read_tensor(file, entry, digest) for entry in _entries(header)]
        if file.read(1) or digest.hexdigest().encode() != raw[_DIGEST_AT]:
            raise ValueError("digest")
    return notes, tensors


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Every way in which damaged bytes fail to be read is one error."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", ANEW) from error
    except DAMAGES as error:
        raise not_ours(path) from error


def not_ours(path: Path) -> InputError:
    """The error for a state file with another content than ours."""
    return InputError(f"{path}: is damaged, or no state of a probe", "remove it and begin anew")


def _opened(path: Path) -> BinaryIO:
    if not path.is_file():  # nobody may ever write to a pipe
        raise ValueError("no regular file")
    return path.open("rb")


def _header(notes: Mapping[str, Any], tensors: Sequence[Tensor]) -> bytes:
    end, entries = 0, {}
    for number, tensor in enumerate(tensors):
        start, end = end, end + tensor.nbytes
        entries[str(number)] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    metadata = {
        "digest": NO_DIGEST,
        "format": FORMAT,
        "version": str(VERSION),
        "notes": json.dumps(notes),
    }
    text = json.dumps({"__metadata__": metadata, **entries}, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)  # safetensors aligns its numbers


def _read_header(file: BinaryIO) -> bytes:
    size = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if size > os.fstat(file.fileno()).st_size - LENGTH_BYTES:
        raise ValueError("shorter than its header")
    header = file.read(size)
    if not header.startswith(BEFORE_DIGEST):
        raise ValueError("another program's")
    return header


def _notes(header: Mapping[str, Any], path: Path) -> dict[str, Any]:
    metadata = header["__metadata__"]
    if metadata["format"] != FORMAT:
        raise ValueError("another program's")
    if metadata["version"] != str(VERSION):
        raise InputError(
            f"{path}: is a state of format {metadata['version']}, and this condcli reads {VERSION}",
            f"go on with the condcli that wrote it, or {ANEW}",
        )
    notes: dict[str, Any] = json.loads(metadata["notes"])
    return notes


def _entries(header: Mapping[str, Any]) -> list[tuple[torch.dtype, list[int]]]:
    found = []
    for number in range(len(header) - 1):
        entry = header[str(number)]
        found.append((_OF_NAME[entry["dtype"]], [int(size) for size in entry["shape"]]))
    return found


def _read_tensor(file: BinaryIO, entry: tuple[torch.dtype, list[int]], digest: Any) -> Tensor:
    dtype, shape = entry
    size = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size > os.fstat(file.fileno()).st_size - file.tell():
        raise ValueError("shorter than its numbers")
    # of memory of its own: products can depend on how numbers are aligned
    tensor = torch.empty(prod(shape), dtype=dtype)
    content = tensor.view(torch.uint8).numpy()
    if file.readinto(content.data) != size:  # type: ignore[attr-defined]
        raise ValueError("shorter than its numbers")
    digest.update(content.data)
    return tensor.view(shape)

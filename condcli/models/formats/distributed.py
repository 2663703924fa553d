"""torch Distributed Checkpoint folders, as FSDP saves them: `.metadata` and *.distcp files."""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path, PurePath

import torch
from torch import Tensor

from condcli.archive import DAMAGED, check_archive
from condcli.errors import InputError, UnsafeError
from condcli.files import Sources
from condcli.models.formats.content import STEPS, Content
from condcli.models.formats.distributed_metadata import Entry, Place, read_metadata
from condcli.models.formats.torch_file import load_data, unreadable
from condcli.models.places import NO_WEIGHTS
from condcli.pickled import check_tuples

METADATA = ".metadata"


def is_distributed(folder: Path) -> bool:
    """Whether `folder` is a Distributed Checkpoint."""
    return (folder / METADATA).is_file()


def read_distributed(folder: Path, sources: Sources) -> Content:
    """The tensors of the Distributed Checkpoint in `folder`, but its optimizer's, nested as saved.

    Raises UnsafeError when the metadata name anything but the format's own classes, and InputError
    when they or the files do not hold together.
    """
    data: dict[str, object] = {}
    files: set[str] = set()
    metadata = folder / METADATA
    for name, entry in read_metadata(metadata, sources.open(metadata)).items():
        if entry.keys[0].partition(".")[0].lower().startswith(NO_WEIGHTS):
            continue
        if entry.piece is None:
            files |= {chunk.place.file for chunk in entry.chunks}
            _put(data, entry.keys, _assembled(folder, sources, name, entry))
        elif entry.keys[-1] in STEPS:
            _put(data, entry.keys, _read(folder, sources, entry.piece))
    return Content(
        data=data,
        format="torch Distributed Checkpoint",
        files=(*(folder / file for file in sorted(files)), metadata),
    )


def _put(data: dict[str, object], keys: tuple[str, ...], value: object) -> None:
    """The value at its way through nested dicts; by its whole name where that way is taken."""
    for depth, key in enumerate(keys[:-1]):
        inner = data.setdefault(key, {})
        if not isinstance(inner, dict):
            data[".".join(keys[depth:])] = value
            return
        data = inner
    data[keys[-1]] = value


def _assembled(folder: Path, sources: Sources, name: str, entry: Entry) -> Tensor:
    """The tensor of all its chunks."""
    if sum(math.prod(chunk.sizes) for chunk in entry.chunks) != math.prod(entry.size):
        raise InputError(f"{folder}: chunks of the tensor {name!r} are missing", DAMAGED)
    # Read before anything is made that is as large as is claimed.
    tensors = [_read(folder, sources, chunk.place) for chunk in entry.chunks]
    parts = []
    for chunk, tensor in zip(entry.chunks, tensors, strict=True):
        fits = chunk.is_within(entry.size)
        if not fits or not isinstance(tensor, Tensor) or tuple(tensor.shape) != chunk.sizes:
            raise InputError(
                f"{folder / chunk.place.file}: a chunk of {name!r} is not of its size", DAMAGED
            )
        parts.append((chunk.offsets, tensor))
    return _joined(entry.size, parts)


def _joined(size: tuple[int, ...], parts: list[tuple[tuple[int, ...], Tensor]]) -> Tensor:
    if [tuple(tensor.shape) for _, tensor in parts] == [size]:
        return parts[0][1]
    dtype = parts[0][1].dtype if parts else torch.float32
    # NaN, so that chunks which overlap, and leave a gap, do not pass.
    whole = torch.full(size, float("nan") if dtype.is_floating_point else 0, dtype=dtype)
    for offsets, tensor in parts:
        ends = (offset + length for offset, length in zip(offsets, tensor.shape, strict=True))
        whole[tuple(map(slice, offsets, ends))] = tensor
    return whole


def _read(folder: Path, sources: Sources, place: Place) -> object:
    """What the little torch.save archive at `place` holds, checked and read as any other."""
    if PurePath(place.file).name != place.file:
        raise InputError(f"{folder} names {place.file!r}, which is no file in it", DAMAGED)
    path = folder / place.file
    if not path.is_file():
        raise InputError(f"{folder}: the file {place.file} is missing", "put it beside .metadata")
    if not place.is_within(sources.size(path)):
        raise InputError(f"{path} has not the bytes that .metadata tells of", DAMAGED)
    file = sources.open(path)
    file.seek(place.start)
    image = io.BytesIO(file.read(place.length))
    check_archive(path, image)
    check_tuples(path, image)
    try:
        return load_data(image)
    except pickle.UnpicklingError:
        raise UnsafeError(f"{path} holds pickled code", "have it saved with tensors only") from None
    except Exception as error:
        raise unreadable(path, error) from None

"""Write a statistics file whole or not at all."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np

from condcli.errors import CannotFinishError, InputError
from condcli.stats import ProbeStats
from condcli.statsfile import schema
from condcli.statsfile.hdf5 import text
from condcli.statsfile.names import encode
from condcli.statsfile.reading import is_hdf5, read_open
from condcli.statsfile.replacing import check_writable, replacing
from condcli.statsfile.staging import Put, staged

# A float32 moment outside these magnitudes would lose digits, or vanish, in float32.
_FLOAT32_RANGE = (2.0**-80, 2.0**120)


def write(stats: ProbeStats, path: str | Path, *, force: bool = False) -> None:
    """Put the statistics into a file; what stood at `path` is replaced only with `force`.

    The file is absent, untouched or complete, whatever happens in between. Raises
    `CannotFinishError` when it cannot be written.
    """
    path = Path(path)
    check_output(path, force=force)
    with replacing(path, force=force) as file:
        _write_all(stats, file)
        _check_whole(path, file)


def check_output(path: Path, *, force: bool = False, inputs: Sequence[Path] = ()) -> None:
    """Raise `CannotFinishError` where `write` would, before anything is computed.

    So, too, where the output would take the place of one of the inputs.
    """
    folder = path.parent
    if not folder.is_dir():
        raise CannotFinishError(f"{path}: there is no folder {folder}", "create it first")
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise CannotFinishError(
            f"{path}: cannot be written ({error.strerror or error})", "name another file"
        ) from error
    if found is not None:
        _check_replaceable(path, found.st_mode, force=force, inputs=inputs)
    try:
        check_writable(folder)
    except OSError as error:
        raise CannotFinishError(
            f"{path}: the folder {folder.absolute()} is not writable ({error.strerror or error})",
            "name another folder",
        ) from error


def _check_replaceable(path: Path, mode: int, *, force: bool, inputs: Sequence[Path]) -> None:
    """Raise `CannotFinishError` for what stands at `path` already and is to stay."""
    if path.is_dir():
        raise CannotFinishError(f"{path}: is a folder", "name a file in it")
    if any(_is_in(path, item) for item in inputs):
        raise CannotFinishError(f"{path}: is also an input", "name another file")
    # A rename would replace the link and leave its target; nobody can want that of both.
    if stat.S_ISLNK(mode):
        raise CannotFinishError(f"{path}: is a symbolic link", "name the file itself")
    if not stat.S_ISREG(mode):
        raise CannotFinishError(f"{path}: is not a regular file", "name another file")
    if not force:
        raise CannotFinishError(
            f"{path}: already exists", "pass --force to replace it, or name another file"
        )


def _is_in(path: Path, place: Path) -> bool:
    """Whether `path` is the file at `place`, or one in the folder there that is no statistics."""
    if not path.is_file():
        return False
    if place.is_dir():
        return place.resolve() in path.resolve().parents and not is_hdf5(path)
    return place.exists() and path.samefile(place)


def _write_all(stats: ProbeStats, file: BinaryIO) -> None:
    """Fill an empty file, one array after the other."""
    with staged(file, "w") as (hdf5, put):
        attributes = schema.attributes_of(stats.provenance)
        attributes |= {"format": schema.FORMAT, "schema_version": schema.VERSION}
        members = []
        for section in schema.SECTIONS:
            group = hdf5.create_group(section, track_order=True)
            for name, record in getattr(stats, section).items():
                members.append(write_record(group, name, record, stats.provenance.dtype, put))
        _set_attributes(hdf5, attributes)
        hdf5.attrs[schema.DIGEST] = text(schema.digest_of_group(attributes, members))
        hdf5.attrs[schema.COMPLETE] = 1


def _check_whole(path: Path, file: BinaryIO) -> None:
    """Raise `CannotFinishError` unless everything that was written reads back."""
    try:
        stats = read_open(path, file)
        for section in schema.SECTIONS:
            for name in getattr(stats, section):
                getattr(stats, section)[name]
    except InputError as error:
        raise not_as_written(path) from error


def not_as_written(path: Path) -> CannotFinishError:
    """The error for a new file that does not hold what was put into it."""
    return CannotFinishError(
        f"{path}: does not read back as it was written", "look at the disk, and run again"
    )


def write_record(
    section: Any,
    name: str,
    record: Any,
    dtype: str,
    put: Put,
    more: Mapping[str, schema.Attribute] = MappingProxyType({}),
) -> tuple[str, str]:
    """Write a record, and `more` attributes, as a group; its path in the file and its digest."""
    group = section.create_group(encode(name))
    attributes = schema.attributes_of(record) | dict(more)
    digests = {}
    for key, array in schema.arrays_of(record).items():
        stored = _stored(array, dtype)
        digests[key] = schema.digest_of_array(stored)
        put(group, key, stored).attrs[schema.DIGEST] = text(digests[key])
    digest = schema.digest_of_group(attributes, digests.items())
    _set_attributes(group, attributes | {schema.DIGEST: digest})
    return group.name, digest


def _set_attributes(item: Any, attributes: Mapping[str, schema.Attribute]) -> None:
    for name, value in attributes.items():
        if isinstance(value, list):
            item.attrs[name] = np.array(value, dtype="<i8")
        else:
            item.attrs[name] = text(value) if isinstance(value, str) else value


def _stored(array: schema.Array, dtype: str) -> schema.Array:
    """The array as the file holds it.

    A float32 probe's matrices are good to no more than float32, so storing them as such halves
    the file at no loss: rounding moves an eigenvalue by less than the noise floor. Vectors stay
    float64.
    """
    if array.dtype.kind == "i":
        return array.astype("<i8")
    size = np.maximum(array.max(initial=0.0), -array.min(initial=0.0))
    low, high = _FLOAT32_RANGE
    narrow = dtype == "float32" and array.ndim > 1 and (size == 0 or low <= size <= high)
    return array.astype("<f4" if narrow else "<f8", copy=False)

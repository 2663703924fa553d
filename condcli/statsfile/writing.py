"""Write a statistics file whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np

from condcli.errors import CannotFinishError, InputError
from condcli.stats import ProbeStats
from condcli.statsfile import schema
from condcli.statsfile.hdf5 import set_attributes
from condcli.statsfile.names import encode
from condcli.statsfile.outputs import check_output
from condcli.statsfile.reading import Records, read_open
from condcli.statsfile.replacing import replacing
from condcli.statsfile.staging import Put, staged

# A float32 moment outside these magnitudes would lose digits, or vanish, in float32.
_FLOAT32_RANGE = (2.0**-80, 2.0**120)


def write(stats: ProbeStats, path: str | Path, *, force: bool = False) -> None:
    """Put the statistics into a file; what stood at `path` is replaced only with `force`.

    The file is absent, untouched or complete, whatever happens in between. Raises
    `CannotFinishError` when it cannot be written.
    """
    path = Path(path)
    check_output(path, force=force, size=size_of(stats))
    with replacing(path, force=force) as file:
        _write_all(stats, file)
        _check_whole(path, file)


def size_of(stats: ProbeStats) -> int:
    """Bytes that the arrays of the layers take in a file, at least; 0 where they are not made yet.

    What only shards have does not count.
    """
    if isinstance(stats.layers, Records):
        sizes = map(stats.layers.stored_sizes, stats.layers)
        return sum(size for each in sizes for key, size in each.items() if key != "weight_grad")
    if not isinstance(stats.layers, dict):
        return 0
    arrays = [
        array for layer in stats.layers.values() for array in schema.arrays_of(layer).values()
    ]
    narrow = stats.provenance.dtype == "float32"
    return sum(array.size * (4 if narrow and array.ndim > 1 else 8) for array in arrays)


def _write_all(stats: ProbeStats, file: BinaryIO) -> None:
    """Fill an empty file, one array after the other."""
    with staged(file, "w") as (hdf5, put):
        attributes = schema.attributes_of(stats.provenance)
        version, members = schema.VERSION, []
        for section in schema.SECTIONS:
            group = hdf5.create_group(section, track_order=True)
            for name, record in getattr(stats, section).items():
                members.append(write_record(group, name, record, stats.provenance.dtype, put))
                version = schema.WITH_FACTORS if schema.has_factor(record) else version
        attributes |= {"format": schema.FORMAT, "schema_version": version}
        digest = schema.digest_of_group(attributes, members)
        set_attributes(hdf5.id, attributes | {schema.DIGEST: digest, schema.COMPLETE: 1})


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
        set_attributes(put(group, key, stored), {schema.DIGEST: digests[key]})
    digest = schema.digest_of_group(attributes, digests.items())
    set_attributes(group.id, attributes | {schema.DIGEST: digest})
    return group.name, digest


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

"""Read a statistics file one record at a time, checking everything on the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Generic

from condcli.errors import CondcliError, InputError
from condcli.stats import ActivationStats, LayerStats, ProbeStats, Provenance, SkippedParameter
from condcli.statsfile import schema
from condcli.statsfile.hdf5 import (
    attribute,
    attributes,
    child_dataset,
    child_group,
    h5py,
    plain_array,
)
from condcli.statsfile.names import decode, encode
from condcli.statsfile.schema import Record

_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read(path: str | Path) -> ProbeStats:
    """The statistics in a file; each layer is loaded, and verified, whenever it is asked for.

    Raises `InputError` for a file that is missing, foreign, newer, truncated or damaged.
    """
    path = Path(path)
    if not is_hdf5(path):
        raise InputError(
            f"{path}: is not a statistics file (it is not HDF5)",
            "pass a file that `condcli probe` wrote",
        )
    return read_open(path, path)


def read_open(path: Path, source: Path | BinaryIO) -> ProbeStats:
    """The same of an open file, called `path`, that is HDF5."""
    with damage_named(path):
        # The file is never changed in place, only replaced: no lock is needed.
        file = h5py.File(source, "r", locking=False).id
        values = attributes(file)
        _check_kind(path, values)
        members: dict[str, str] = {}
        stats = ProbeStats(
            provenance=schema.record_from(Provenance, values, _no_array),
            layers=Records(path, file, "layers", LayerStats, members),
            activations=Records(path, file, "activations", ActivationStats, members),
            skipped=Records(path, file, "skipped", SkippedParameter, members),
        )
        if schema.digest_of_group(values, members.items()) != values[schema.DIGEST]:
            raise ValueError("checksum of the root")
    return stats


def check_links(stats: ProbeStats) -> None:
    """Raise `InputError` where the file of these statistics leads to another place or file."""
    assert isinstance(stats.layers, Records), "statistics that were read from a file"
    path, file = stats.layers.path, stats.layers.file
    for name in file:
        if file.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            raise InputError(
                f"{path}: {name.decode(errors='replace')!r} is a link, not a part of the file",
                "do not trust it: ask where it comes from",
            )


def is_hdf5(path: Path) -> bool:
    """Whether the file begins as HDF5 does; `InputError` when it is none or cannot be opened."""
    try:
        # A pipe without a writer would be waited for.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NO_WAIT)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(
                    f"{path}: is not a regular file", "copy it to one, or check the path"
                )
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError as error:
        raise InputError(
            f"{path}: cannot be opened ({error.strerror or error})", "check the path"
        ) from error


class Records(Mapping[str, Record], Generic[Record]):
    """The records of one section, in stored order, each read from the file when asked for."""

    def __init__(
        self, path: Path, file: Any, section: str, kind: type[Record], members: dict[str, str]
    ) -> None:
        """List the section's records and put their paths and digests into `members`."""
        self.path = path
        self.file = file  # h5py's low-level handle
        self._section = child_group(file, section)
        self._kind = kind
        self._digests: dict[str, str] = {}
        for group_name in map(bytes.decode, self._section):
            digest = digest_of(child_group(self._section, group_name))
            self._digests[decode(group_name)] = digest
            members[f"/{section}/{group_name}"] = digest

    def __getitem__(self, name: str) -> Record:
        if name not in self._digests:
            raise KeyError(name)
        with damage_named(self.path, name):
            group = child_group(self._section, encode(name))
            return read_record(group, self._kind, name, self._digests[name])

    def stored_bytes(self, name: str) -> int:
        """The size of a record's arrays in the file."""
        return sum(self.stored_sizes(name).values())

    def stored_sizes(self, name: str) -> dict[str, int]:
        """The size in the file of each of a record's arrays, in bytes."""
        with damage_named(self.path, name):
            group = child_group(self._section, encode(name))
            keys = map(bytes.decode, group)
            return {key: child_dataset(group, key).get_storage_size() for key in keys}

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


def read_record(group: Any, kind: type[Record], name: str, digest: str) -> Record:
    """The record in a group; many kinds of errors when it does not have this digest."""
    values = attributes(group)
    datasets = {key: child_dataset(group, key) for key in map(bytes.decode, group)}
    digests = {key: digest_of(item) for key, item in datasets.items()}
    if schema.digest_of_group(values, digests.items()) != digest:
        raise ValueError("checksum of the attributes")

    def array(key: str, dtypes: tuple[str, ...]) -> schema.Array | None:
        if key not in datasets:
            return None
        shape = schema.expected_shape(key, values)
        found = plain_array(datasets[key], dtypes=dtypes, shape=shape)
        if schema.digest_of_array(found) != digests[key]:
            raise ValueError(f"checksum of {key}")
        return found

    record = schema.record_from(kind, values | {"name": name}, array)
    if isinstance(record, LayerStats):
        schema.require_moments(record)
    return record


def digest_of(item: Any) -> str:
    """The digest that a group or dataset is stored with."""
    return str(attribute(item, schema.DIGEST.encode()))


def _no_array(key: str, dtypes: tuple[str, ...]) -> None:
    return None


def _check_kind(path: Path, values: Mapping[str, Any]) -> None:
    if values.get("format") != schema.FORMAT:
        raise InputError(
            f"{path}: is an HDF5 file, but not one of condcli's",
            "pass a file that `condcli probe` wrote",
        )
    version = values.get("schema_version")
    if version not in schema.VERSIONS:
        known = " and ".join(map(str, schema.VERSIONS))
        raise InputError(
            f"{path}: has schema version {version}, and this condcli reads {known}",
            "upgrade condcli",
        )
    if schema.COMPLETE not in values:
        raise InputError(f"{path}: was not written to its end", "probe the model again")


@contextmanager
def damage_named(path: Path, name: str | None = None) -> Iterator[None]:
    """Turn whatever a damaged file makes h5py or a check raise into one error that names it."""
    try:
        yield
    except CondcliError:
        raise
    except (OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        where = "" if name is None else f" at {name!r}"
        raise InputError(
            f"{path}: the statistics file is truncated or damaged{where}",
            "copy it anew or probe the model again",
        ) from error

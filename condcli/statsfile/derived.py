"""What a subcommand derived from a statistics file, kept in the file itself; never needed.

/derived/<name> is a record like any other, with a digest of its own. It counts only beside the
statistics that it was derived from, which the root's digest tells, and for the condcli that
derived it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from condcli import __version__
from condcli.errors import CannotFinishError
from condcli.stats import LayerSpectra, ProbeStats
from condcli.statsfile.hdf5 import attributes, child_group
from condcli.statsfile.names import decode, encode
from condcli.statsfile.outputs import check_room
from condcli.statsfile.reading import Records, damage_named, digest_of, read_open, read_record
from condcli.statsfile.replacing import replacing
from condcli.statsfile.staging import staged
from condcli.statsfile.writing import not_as_written, write_record

_GROUP = "derived"
_REMEDY = "free some space, or run without --cache"
_CHUNK = 2**20  # bytes copied at a time
_DAMAGE = (OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError)


def kept_spectra(stats: ProbeStats, name: str) -> LayerSpectra | None:
    """The eigenvalues of a layer that the file of these statistics keeps, if it does.

    None, too, where they were derived from other statistics or by another condcli, or are damaged.
    """
    if not isinstance(stats.layers, Records):
        return None
    file = stats.layers.file
    try:
        group = child_group(child_group(file, _GROUP), encode(name))
        if attributes(group).items() >= _origin(file).items():
            return read_record(group, LayerSpectra, name, digest_of(group))
    except _DAMAGE:
        pass
    return None


def check_kept(stats: ProbeStats) -> int:
    """Of how many layers the file of these statistics keeps eigenvalues that count.

    `InputError` where something stands in their place that is none, or is damaged.
    """
    assert isinstance(stats.layers, Records), "statistics that were read from a file"
    file, count = stats.layers.file, 0
    if _GROUP.encode() not in list(file):
        return count
    with damage_named(stats.layers.path, _GROUP):
        section = child_group(file, _GROUP)
        for name in map(decode, map(bytes.decode, section)):
            group = child_group(section, encode(name))
            if attributes(group).items() >= _origin(file).items():
                read_record(group, LayerSpectra, name, digest_of(group))
                count += 1
    return count


def check_keepable(path: Path) -> None:
    """Raise `CannotFinishError` where `keep_spectra` would, before anything is computed."""
    place = path.resolve()
    if not (os.access(place, os.W_OK) and os.access(place.parent, os.W_OK | os.X_OK)):
        raise CannotFinishError(
            f"{path}: cannot keep the eigenvalues, as it or its folder is not writable",
            "run without --cache, or give permission",
        )
    check_room(place, place.stat().st_size, remedy=_REMEDY)


def keep_spectra(stats: ProbeStats, spectra: Iterable[LayerSpectra]) -> None:
    """Put eigenvalues into the file that the statistics were read from, beside those there.

    The file is replaced whole, or untouched. Raises `CannotFinishError` when it cannot be written,
    or is no longer the one that was read.
    """
    assert isinstance(stats.layers, Records), "statistics that were read from a file"
    new = {item.name: item for item in spectra if kept_spectra(stats, item.name) is None}
    if not new:
        return
    old = {name: kept_spectra(stats, name) for name in stats.layers if name not in new}
    every = [*new.values(), *filter(None, old.values())]
    path, place = stats.layers.path, stats.layers.path.resolve()
    replaced = CannotFinishError(
        f"{path}: was replaced while its eigenvalues were computed", "run it again"
    )
    try:
        before = place.stat()
    except FileNotFoundError:
        raise replaced from None
    with replacing(
        place,
        force=True,
        mode=stat.S_IMODE(before.st_mode),
        remedy=_REMEDY,
    ) as file:
        with open(place, "rb") as source:
            shutil.copyfileobj(source, file, _CHUNK)
        if not _add(file, stats.layers.file, every) or _version(place.stat()) != _version(before):
            raise replaced
        written = read_open(place, file)
        if any(kept_spectra(written, item.name) is None for item in every):
            raise not_as_written(path)


def _add(file: BinaryIO, read: Any, spectra: Iterable[LayerSpectra]) -> bool:
    """Give the file these /derived; False if it is not the file that was read."""
    try:
        with staged(file, "r+") as (hdf5, put):
            if _origin(hdf5.id) != _origin(read):
                return False
            if _GROUP in hdf5:
                del hdf5[_GROUP]
            section = hdf5.create_group(_GROUP, track_order=True)
            for item in spectra:
                write_record(section, item.name, item, "float64", put, _origin(read))
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's; HDF5's own have no number
        return False
    return True


def _version(state: os.stat_result) -> tuple[int, int, int]:
    """What changes when a file is replaced or written."""
    return state.st_ino, state.st_mtime_ns, state.st_size


def _origin(file: Any) -> dict[str, str]:
    """What eigenvalues were derived from and by: attributes of their record."""
    return {"source": digest_of(file), "condcli_version": __version__}

"""What a subcommand derived from a statistics file, kept in the file itself; never needed.

/derived/<name> is a record like any other, with a digest of its own. It counts only beside the
statistics that it was derived from, which the root's digest tells, and for the condcli that
derived it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from condcli import __version__
from condcli.errors import CannotFinishError
from condcli.stats import LayerSpectra, ProbeStats
from condcli.statsfile.hdf5 import attributes, child_group, h5py
from condcli.statsfile.names import encode
from condcli.statsfile.reading import Records, digest_of, read_record
from condcli.statsfile.writing import put, write_record

_GROUP = "derived"
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


def check_keepable(path: Path) -> None:
    """Raise `CannotFinishError` where `keep_spectra` would, before anything is computed."""
    place = path.resolve()
    if not (os.access(place, os.W_OK) and os.access(place.parent, os.W_OK | os.X_OK)):
        raise CannotFinishError(
            f"{path}: cannot keep the eigenvalues, as it or its folder is not writable",
            "run without --cache, or give permission",
        )


def keep_spectra(stats: ProbeStats, spectra: Iterable[LayerSpectra]) -> None:
    """Put eigenvalues into the file that the statistics were read from, beside those there.

    The file is replaced whole, or untouched. Raises `CannotFinishError` when it cannot be written,
    or is no longer the one that was read.
    """
    assert isinstance(stats.layers, Records), "statistics that were read from a file"
    new = {item.name: item for item in spectra if kept_spectra(stats, item.name) is None}
    if not new:
        return
    path, file = stats.layers.path, stats.layers.file
    old = {name: kept_spectra(stats, name) for name in stats.layers if name not in new}
    try:
        _replace(path.resolve(), file, new | {name: item for name, item in old.items() if item})
    except OSError as error:
        raise CannotFinishError(
            f"{path}: the eigenvalues cannot be kept ({error.strerror or error})",
            "free some space, or run without --cache",
        ) from error


def _replace(path: Path, read: Any, spectra: dict[str, LayerSpectra]) -> None:
    """Replace the file by one with these /derived, if it still is the one that was read."""
    before = path.stat()
    image = BytesIO(path.read_bytes())
    with h5py.File(image, "r+", libver=("v110", "v110")) as file:
        if _origin(file.id) != _origin(read):
            raise OSError(f"{path} was replaced meanwhile")
        if _GROUP in file:
            del file[_GROUP]
        section = file.create_group(_GROUP, track_order=True)
        for name, item in spectra.items():
            write_record(section, name, item, "float64", _origin(read))
    now = path.stat()
    if (now.st_ino, now.st_mtime_ns, now.st_size) != (
        before.st_ino,
        before.st_mtime_ns,
        before.st_size,
    ):
        raise OSError(f"{path} was replaced meanwhile")
    put(image.getbuffer(), path, mode=stat.S_IMODE(before.st_mode))


def _origin(file: Any) -> dict[str, str]:
    """What eigenvalues were derived from and by: attributes of their record."""
    return {"source": digest_of(file), "condcli_version": __version__}

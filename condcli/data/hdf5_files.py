"""`FILE.h5`, `FILE.hdf5`: data sets with names, by the rule of items.py, read when needed.

HDF5 follows links, raw storage and virtual data sets out of the file (Keras's CVE-2026-1669): they
are refused here, as are filters that would need a plug-in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from condcli.batch import Batch, examples_in
from condcli.data.array_files import unreadable
from condcli.data.arrays import require_paired
from condcli.data.items import as_pair, divided
from condcli.data.locate import existing_file
from condcli.data.probe_set import Examples, IntArray
from condcli.data.request import Request
from condcli.data.split_names import names_of_split
from condcli.errors import CondcliError, InputError
from condcli.files import identity, refuse_stand_in, unchanged

LARGEST_CHUNK = 1 << 28  # bytes
FILTERS = frozenset({1, 2, 3, 32000})  # deflate, shuffle, fletcher32 and h5py's own lzf


def open_hdf5(path: str, request: Request) -> Examples:
    """The examples of the data sets at the top of a file, such as `x` and `y`."""
    import torch

    file = existing_file(path)
    with unchanged(file) as stream:
        refuse_stand_in(file, stream)
        first = identity(stream)
    with unchanged(file, like=first) as stream, _opened(file, stream) as content:
        split, names = names_of_split(_names(file, content), request.split, path)
        shapes = {plain: _checked_shape(file, content, name) for plain, name in names.items()}
    x, y = divided({name: torch.empty(shapes[name], device="meta") for name in shapes}, path)
    require_paired(x, x if y is None else y, path)

    def fetch(indices: IntArray) -> Batch:
        with unchanged(file, like=first) as stream, _opened(file, stream) as content:
            return as_pair({plain: content[name][indices] for plain, name in names.items()}, path)

    return Examples(total=examples_in(x), fetch=fetch, split=split)


@contextmanager
def _opened(file: Path, stream: BinaryIO) -> Iterator[Any]:
    """HDF5's view of the open `file`: through Python, so that it opens, and locks, nothing."""
    from condcli.statsfile.hdf5 import h5py

    try:
        with h5py.File(stream, "r") as content:
            yield content
    except CondcliError:
        raise
    except Exception as error:  # h5py raises five types on damaged files
        raise unreadable(file, error) from error


def _names(file: Path, content: Any) -> list[str]:
    """The data sets at the top of the file."""
    from condcli.statsfile.hdf5 import attributes, h5py
    from condcli.statsfile.schema import FORMAT

    if attributes(content.id).get("format") == FORMAT:
        raise InputError(
            f"{file}: a statistics file of condcli, not data",
            f"read it with condcli spectrum {file}",
        )

    def is_link(name: str) -> bool:
        return not isinstance(content.get(name, getlink=True), h5py.HardLink)

    names = [
        name
        for name in content
        if is_link(name) or content.get(name, getclass=True) is not h5py.Group
    ]
    if not names:
        groups = ", ".join(list(content)[:10]) or "nothing"
        raise InputError(f"{file}: has no data sets, only {groups}", "store x and y at its top")
    return names


def _checked_shape(file: Path, content: Any, name: str) -> tuple[int, ...]:
    """The shape of a data set, once it is known to be of numbers that lie in the file."""
    from condcli.statsfile.hdf5 import h5py

    what = f"{file}: {name}"
    if not isinstance(content.get(name, getlink=True), h5py.HardLink):
        raise InputError(f"{what} is a link out of the data", "store the data themselves")
    dataset = content[name]
    if dataset.dtype.kind not in "biuf":
        raise InputError(f"{what} holds {dataset.dtype}, not real numbers", "leave it out")
    storage = dataset.id.get_create_plist()
    filters = {storage.get_filter(number)[0] for number in range(storage.get_nfilters())}
    if dataset.external is not None or dataset.is_virtual or not filters <= FILTERS:
        raise InputError(
            f"{what} is stored in other files, or by a plug-in",
            "store it plainly, or compressed by gzip or lzf",
        )
    if math.prod(dataset.chunks or ()) * dataset.dtype.itemsize > LARGEST_CHUNK:
        raise InputError(
            f"{what} is in chunks of {dataset.chunks}, each of which is read whole",
            "store it in chunks of a few examples",
        )
    if dataset.id.get_storage_size() == 0 and dataset.size:
        raise InputError(f"{what} was never written", "write the file again")
    shape: tuple[int, ...] = dataset.shape
    return shape

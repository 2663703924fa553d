"""h5py, imported so that HDF5 loads no plug-ins and heeds no environment variable, and the few
ways in which we let it read.

HDF5 follows links, raw storage and virtual data sets out of the file (Keras's CVE-2026-1669), and
allocates what a header claims. So only hard links and plain contiguous data are read here.

All through the low-level interface, on `Group.id` and the like: the other one takes twice as long
to read a file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

# HDF5 reads them once, when it is loaded. A driver of HDF5_DRIVER that it does not know crashes it.
for _name in [name for name in os.environ if name.startswith("HDF5_")]:
    del os.environ[_name]
os.environ["HDF5_PLUGIN_PRELOAD"] = "::"
import h5py  # noqa: E402
import numpy as np  # noqa: E402

from condcli.statsfile.schema import Array, Attribute, Shape  # noqa: E402

__all__ = [
    "attribute",
    "attributes",
    "child_dataset",
    "child_group",
    "h5py",
    "plain_array",
    "set_attributes",
]
_SCALAR = h5py.h5s.create(h5py.h5s.SCALAR)


def child_group(group: Any, name: str) -> Any:
    """A group inside a group, by hard link only."""
    return _child(group, name, h5py.h5g.GroupID)


def child_dataset(group: Any, name: str) -> Any:
    """A dataset inside a group, by hard link only."""
    return _child(group, name, h5py.h5d.DatasetID)


def attributes(item: Any) -> dict[str, Attribute]:
    """All attributes of a group or dataset as plain Python values; without strings of any length.

    Those lie in HDF5's global heap, which has no checksum: one flipped bit there, and HDF5 never
    comes back. Strings of a fixed length lie with the attribute, under its checksum.
    """
    names: list[bytes] = []
    h5py.h5a.iterate(item, names.append)
    values = ((name.decode(), _value(h5py.h5a.open(item, name))) for name in names)
    return {name: value for name, value in values if value is not None}


def attribute(item: Any, name: bytes) -> Any:
    """One attribute of a group or dataset as a plain Python value; ValueError for other strings."""
    value = _value(h5py.h5a.open(item, name))
    if value is None:
        raise ValueError(f"unexpected type of {name!r}")
    return value


def set_attributes(item: Any, values: Mapping[str, Attribute]) -> None:
    """Give a new group or dataset these attributes, sooner than h5py does it."""
    for name, value in values.items():
        array = _text(value) if isinstance(value, str) else np.asarray(value)
        if isinstance(value, list):
            array = array.astype("<i8")
        kind = h5py.h5t.py_create(array.dtype, logical=True)
        space = h5py.h5s.create_simple(array.shape) if array.shape else _SCALAR
        h5py.h5a.create(item, name.encode(), kind, space).write(array, kind)


def _text(value: str) -> Any:
    """A string as HDF5 stores it inside the attribute itself; the empty one as a NUL."""
    encoded = value.encode()
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(1, len(encoded))))


def _value(found: Any) -> Any:
    """The value of an attribute; None for strings of any length."""
    kind = found.get_type()
    dtype = kind.dtype
    if dtype.kind == "O":
        return None
    array = np.empty(found.shape, dtype)
    found.read(array, kind)  # without it, h5py builds the type once more
    value = array.tolist()
    return value.decode() if isinstance(value, bytes) else value


def plain_array(dataset: Any, *, dtypes: tuple[str, ...], shape: Shape | None) -> Array:
    """The dataset's values; ValueError unless dtype and shape fit and the values lie in the file.

    `shape=None` stands for a list of any length, a None in it for an axis of any.
    """
    dtype, found_shape, storage = dataset.dtype, dataset.shape, dataset.get_create_plist()
    if dtype.str not in dtypes:
        raise ValueError(f"unexpected type {dtype}")
    expected = (None,) if shape is None else shape
    if len(found_shape) != len(expected) or any(
        size not in (None, found) for size, found in zip(expected, found_shape, strict=True)
    ):
        raise ValueError(f"unexpected shape {found_shape}")
    # Contiguous, unfiltered and allocated in full: the size is honest, being inside the file.
    if storage.get_layout() != h5py.h5d.CONTIGUOUS or storage.get_external_count():
        raise ValueError("unexpected storage")
    if dataset.get_storage_size() != math.prod(found_shape) * dtype.itemsize:
        raise ValueError("values missing")
    values = np.empty(found_shape, dtype)
    if values.size:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    return values


def _child(group: Any, name: str, kind: type) -> Any:
    if group.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise KeyError(name)
    child = h5py.h5o.open(group, name.encode())
    if not isinstance(child, kind):
        raise TypeError(f"{name} is not a {kind.__name__}")
    return child

"""h5py, imported so that HDF5 loads no plug-ins, and the few ways in which we let it read.

HDF5 follows links, raw storage and virtual data sets out of the file (Keras's CVE-2026-1669), and
allocates what a header claims. So only hard links and plain contiguous data are read here.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["HDF5_PLUGIN_PRELOAD"] = "::"  # HDF5 reads it once, when it is loaded
import h5py
import numpy as np

from condcli.statsfile.schema import Array, Attribute

__all__ = ["attributes", "child_dataset", "child_group", "h5py", "plain_array"]


def child_group(group: Any, name: str) -> Any:
    """A group inside a group, by hard link only."""
    return _child(group, name, h5py.Group)


def child_dataset(group: Any, name: str) -> Any:
    """A dataset inside a group, by hard link only."""
    return _child(group, name, h5py.Dataset)


def attributes(item: Any) -> dict[str, Attribute]:
    """All attributes of a group or dataset as plain Python values.

    Through the low-level interface: `item.attrs` takes half of the time to read a file.
    """
    names: list[bytes] = []
    h5py.h5a.iterate(item.id, names.append)
    return {name.decode(): _attribute(item, name) for name in names}


def plain_array(dataset: Any, *, dtypes: tuple[str, ...], shape: tuple[int, ...] | None) -> Array:
    """The dataset's values; ValueError unless dtype and shape fit and the values lie in the file.

    `shape=None` stands for a list of any length.
    """
    if dataset.dtype.str not in dtypes:
        raise ValueError(f"unexpected type {dataset.dtype}")
    if (dataset.ndim != 1) if shape is None else (dataset.shape != shape):
        raise ValueError(f"unexpected shape {dataset.shape}")
    # Contiguous, unfiltered and allocated in full: the size is honest, being inside the file.
    if dataset.is_virtual or dataset.external is not None or dataset.chunks is not None:
        raise ValueError("unexpected storage")
    if dataset.id.get_storage_size() != dataset.nbytes:
        raise ValueError("values missing")
    return np.asarray(dataset[()])


def _child(group: Any, name: str, kind: type) -> Any:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise KeyError(name)
    child = group[name]
    if not isinstance(child, kind):
        raise TypeError(f"{name} is not a {kind.__name__}")
    return child


def _attribute(item: Any, name: bytes) -> Any:
    attribute = h5py.h5a.open(item.id, name)
    array = np.empty(attribute.shape, attribute.dtype)
    attribute.read(array)
    value = array.tolist()
    return value.decode() if isinstance(value, bytes) else value

"""A file that HDF5 may write to without ever touching a disk.

HDF5 crashes when a write fails, on a full disk say, even after the error was caught (h5py#914).
So what it writes itself, the structure of the file, stays in memory; the arrays, which are nearly
all of the file, go around it to the places that it chose for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import RawIOBase
from typing import Any, BinaryIO

import numpy as np

from condcli.statsfile.hdf5 import h5py
from condcli.statsfile.schema import Array

_PAGE = 4096

Put = Callable[[Any, str, Array], Any]


@contextmanager
def staged(file: BinaryIO, mode: str) -> Iterator[tuple[Any, Put]]:
    """The HDF5 file in `file`, to be changed, and `put(group, name, array)`, which adds an array.

    `put` writes to `file` at once and gives h5py's low-level dataset; all else is written when the
    block ends.
    OSErrors are those of plain Python.
    """
    stage = _Stage(file)

    def put(group: Any, name: str, array: Array) -> Any:
        dataset = _room_for(group, name, array)
        if array.size:
            stage.put(dataset.get_offset(), np.ascontiguousarray(array).data.cast("B"))
        return dataset

    try:
        # From 1.10 on, HDF5's own metadata carry checksums.
        with h5py.File(stage, mode, libver=("v110", "v110")) as hdf5:
            yield hdf5, put
    except Exception:
        if stage.failure is not None:
            raise stage.failure from None  # of which HDF5 makes others
        raise
    stage.settle()


def _room_for(group: Any, name: str, array: Array) -> Any:
    """A dataset whose place in the file is settled."""
    kind, space = h5py.h5t.py_create(array.dtype), h5py.h5s.create_simple(array.shape)
    return h5py.h5d.create(group.id, name.encode(), kind, space, _plan())


@cache
def _plan() -> Any:
    """How HDF5 is to make room for an array that it leaves alone itself."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)  # the same statistics give the same bytes
    return plan


class _Stage(RawIOBase):
    """What HDF5 takes for a file: pages in memory over those of the file beneath."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._position = 0
        self._pages: dict[int, bytearray] = {}
        self.failure: OSError | None = None  # of the file beneath, while HDF5 was reading it

    def put(self, offset: int, content: memoryview) -> None:
        """Write to the file beneath, past the pages; those that there are stay true."""
        self._file.seek(offset)
        self._file.write(content)
        for number, within, part in _pieces(offset, content):
            if number in self._pages:
                self._pages[number][within : within + len(part)] = part

    def settle(self) -> None:
        """Write the pages to the file beneath."""
        for number in sorted(self._pages):
            self._file.seek(number * _PAGE)
            self._file.write(self._pages[number])
        self._file.truncate(self._size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        content = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        for number, within, part in _pieces(self._position, content):
            part[:] = self._page(number)[within : within + len(part)]
        return len(content)

    def write(self, data: Any) -> int:
        content = memoryview(data).cast("B")
        for number, within, part in _pieces(self._position, content):
            self._page(number)[within : within + len(part)] = part
        self._size = max(self._size, self._position + len(content))
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        return self._size

    def _page(self, number: int) -> bytearray:
        if number not in self._pages:
            try:
                self._file.seek(number * _PAGE)
                self._pages[number] = bytearray(self._file.read(_PAGE).ljust(_PAGE, b"\0"))
            except OSError as error:
                self.failure = self.failure or error
                raise
        return self._pages[number]


def _pieces(offset: int, content: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """The content cut at the borders of pages: page number, place within it, part."""
    done = 0
    while done < len(content):
        number, within = divmod(offset + done, _PAGE)
        part = content[done : done + _PAGE - within]
        yield number, within, part
        done += len(part)

"""What HDF5 takes for a file: errors of the file beneath come out as they are."""

from __future__ import annotations

import errno
import io
from typing import Any

import numpy as np
import pytest

from condcli.statsfile.staging import staged


class Failing(io.BytesIO):
    """A file on a disk that fails."""

    def __init__(self, content: bytes, call: str) -> None:
        super().__init__(content)
        self._call = call

    def read(self, size: int | None = -1) -> bytes:
        self._fail("read")
        return super().read(size)

    def write(self, content: Any) -> int:
        self._fail("write")
        return super().write(content)

    def _fail(self, call: str) -> None:
        if call == self._call:
            raise OSError(errno.EIO, "Input/output error")


def content() -> bytes:
    file = io.BytesIO()
    with staged(file, "w") as (hdf5, put):
        put(hdf5, "a", np.arange(5000.0))
    return file.getvalue()


@pytest.mark.parametrize("call", ["read", "write"])
def test_the_error_of_the_disk_comes_out_as_it_is(call: str) -> None:
    """HDF5 makes others of those that come while it reads."""
    with pytest.raises(OSError, match="Input/output error") as raised:
        change(Failing(content(), call))
    assert raised.value.errno == errno.EIO


def test_a_disk_that_does_not_fail_is_no_error() -> None:
    file = Failing(content(), "")
    change(file)
    file.seek(0)
    with staged(file, "r+") as (hdf5, _):
        assert np.array_equal(hdf5["a"][()], np.arange(5000.0))
        assert np.array_equal(hdf5["b"][()], np.ones(3))


def change(file: io.BytesIO) -> None:
    with staged(file, "r+") as (hdf5, put):
        put(hdf5, "b", np.ones(3))

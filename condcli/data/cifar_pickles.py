"""CIFAR's python version, as torchvision keeps it: pickles, of which only known bytes are read.

The checksum is that of the very bytes that are then unpickled, and the unpickler knows nothing but
NumPy's arrays.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from condcli.data.locate import read_bytes
from condcli.errors import InputError

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # images (N, 3, 32, 32), labels (N,)


def read_pickles(name: str, files: list[tuple[Path, str]]) -> Arrays:
    """The images and (fine) labels of data set `name`'s files, each with its md5.

    Raises InputError for a file that is missing or has another checksum.
    """
    batches = [_batch(name, file, md5) for file, md5 in files]
    images = np.concatenate([batch["data"] for batch in batches])
    labels = [np.asarray(batch.get("labels") or batch["fine_labels"]) for batch in batches]
    return images.reshape(-1, 3, 32, 32), np.concatenate(labels).astype(np.int64)


def _batch(name: str, file: Path, md5: str) -> dict[str, Any]:
    if not file.is_file():
        raise damaged(file)
    content = read_bytes(name, file)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise damaged(file)
    try:
        batch: dict[str, Any] = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise damaged(file) from error
    return batch


def damaged(file: Path) -> InputError:
    """The error for a file whose bytes are not the known ones."""
    return InputError(f"{file}: missing or damaged", "get it again with --download")


def _array(kind: type, shape: tuple[int, ...], code: bytes) -> npt.NDArray[Any]:
    """An empty array, whose state follows, as NumPy's own function of this use makes."""
    empty: npt.NDArray[Any] = np.ndarray(shape, np.int8)
    return empty


_KNOWN = {
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
}


class _Unpickler(pickle.Unpickler):
    """Reads plain data and arrays."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no array") from None

"""Weights as NumPy arrays: a .npz archive, or a pickled dict."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from condcli.archive import DAMAGED
from condcli.errors import InputError
from condcli.npz import check_npz


def read_arrays(path: Path, file: IO[bytes]) -> dict[str, Tensor]:
    """The arrays of the .npz archive `file` at `path` by name, as tensors.

    Raises InputError for a damaged one, and for arrays of objects, which only a pickle can hold.
    """
    check_npz(path, file)
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError):
        raise InputError(f"{path} is truncated or damaged", DAMAGED) from None
    except ValueError:  # of an array of objects, and of a damaged header
        raise InputError(
            f"{path} holds arrays that are not plain numbers", "save the weights as numbers"
        ) from None
    strange = [name for name, array in arrays.items() if array.dtype.kind not in "biuf"]
    if strange:
        raise InputError(
            f"{path} holds arrays that are not plain numbers ({strange[0]!r})",
            "save the weights as numbers",
        )
    return {name: _tensor(array) for name, array in arrays.items()}


def tensors_of_arrays(data: object) -> object:
    """The same dicts within dicts, with a tensor for every array of numbers."""
    if isinstance(data, np.ndarray) and data.dtype.kind in "biuf":
        return _tensor(data)
    if isinstance(data, Mapping):
        return {name: tensors_of_arrays(value) for name, value in data.items()}
    return data


def _tensor(array: np.ndarray) -> Tensor:
    # torch wants the machine's own byte order, and an array that may be written to
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))

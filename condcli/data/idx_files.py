"""MNIST and Fashion-MNIST, from the idx files as torchvision keeps them (ROOT/MNIST/raw).

Read here and not by torchvision, which wants the files of both splits, cannot say which one is
damaged, and takes seconds to import. It does the downloading.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from condcli.data.arrays import in_memory
from condcli.data.locate import open_with_torchvision, read_bytes
from condcli.data.normalization import Normalization
from condcli.data.probe_set import Examples
from condcli.errors import InputError

UINT8 = 0x08  # the type code of unsigned bytes, third byte of the file


def open_mnist(split: str, root: Path, download: bool) -> Examples:
    """Images (1, 28, 28) of digits and labels 0..9."""
    usual = Normalization((0.1307,), (0.3081,))
    return _open(split, root, download, name="MNIST", usual=usual)


def open_fashion_mnist(split: str, root: Path, download: bool) -> Examples:
    """Images (1, 28, 28) of clothes and labels 0..9."""
    usual = Normalization((0.2860,), (0.3530,))
    return _open(split, root, download, name="FashionMNIST", usual=usual)


def _open(split: str, root: Path, download: bool, *, name: str, usual: Normalization) -> Examples:
    folder = _raw_folder(root, name)
    prefix = "train" if split == "train" else "t10k"
    files = [folder / f"{prefix}-images-idx3-ubyte", folder / f"{prefix}-labels-idx1-ubyte"]
    if download and not all(file.is_file() for file in files):
        open_with_torchvision(name, folder.parents[1], download=True)
    images, labels = (_read_idx(name, file, axes) for file, axes in zip(files, (3, 1), strict=True))
    return in_memory(images[:, None], labels, source=str(folder), classes=10, usual=usual)


def _raw_folder(root: Path, name: str) -> Path:
    """Where the files are, `root` being torchvision's root, or ROOT/MNIST, or ROOT/MNIST/raw."""
    if root.absolute().parts[-2:] == (name, "raw"):
        return root
    return root / "raw" if root.absolute().name == name else root / name / "raw"


def _read_idx(name: str, file: Path, axes: int) -> npt.NDArray[Any]:
    """The uint8 array of an idx file: magic (0, 0, type, axes), sizes as big-endian u32, bytes."""
    content = read_bytes(name, file)
    header = 4 + 4 * axes
    if len(content) < header or content[:4] != bytes((0, 0, UINT8, axes)):
        raise InputError(f"{file}: not an idx file of {axes} axes", "delete it and get it again")
    shape = struct.unpack_from(f">{axes}I", content, 4)
    if len(content) != header + math.prod(shape):
        raise InputError(
            f"{file}: has {len(content)} bytes instead of {header + math.prod(shape)}",
            "it is truncated or damaged: delete it and get it again",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)

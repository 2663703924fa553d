"""CIFAR-10 and CIFAR-100, from the binary version, or from torchvision's.

The binary version is preferred: torchvision's consists of pickles, which are opened only when their
checksums are the known ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from condcli.data.arrays import in_memory
from condcli.data.cifar_pickles import Arrays, read_pickles
from condcli.data.locate import missing, open_with_torchvision, read_bytes
from condcli.data.normalization import Normalization
from condcli.data.probe_set import Examples
from condcli.errors import InputError

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """How one of the two is stored."""

    name: str  # torchvision's
    classes: int
    folder: str  # of the binary version
    files: dict[str, tuple[str, ...]]  # by split
    records: int  # in a training file; a test file holds 10,000
    label_bytes: int  # before the pixels of a record; the last of them is the class
    usual: Normalization


CIFAR10 = Cifar(
    name="CIFAR10",
    classes=10,
    folder="cifar-10-batches-bin",
    files={
        "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test": ("test_batch.bin",),
    },
    records=10_000,
    label_bytes=1,
    # As in fb.resnet.torch and the paper; these are the training set's own.
    usual=Normalization(
        (125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)
    ),
)
CIFAR100 = Cifar(
    name="CIFAR100",
    classes=100,
    folder="cifar-100-binary",
    files={"train": ("train.bin",), "test": ("test.bin",)},
    records=50_000,
    label_bytes=2,  # one of 20 superclasses, then the class
    usual=Normalization((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
)
TEST_RECORDS = 10_000


def open_cifar10(split: str, root: Path, download: bool) -> Examples:
    """Images (3, 32, 32) and labels 0..9."""
    return _open(CIFAR10, split, root, download)


def open_cifar100(split: str, root: Path, download: bool) -> Examples:
    """Images (3, 32, 32) and labels 0..99, the fine ones."""
    return _open(CIFAR100, split, root, download)


def _open(cifar: Cifar, split: str, root: Path, download: bool) -> Examples:
    for folder in (root / cifar.folder, root):
        if any((folder / file).is_file() for file in cifar.files[split]):
            images, labels = _read_binary(cifar, split, folder)
            break
    else:
        images, labels = _read_torchvision(cifar, split, root, download)
    return in_memory(images, labels, source=cifar.name, classes=cifar.classes, usual=cifar.usual)


def _read_binary(cifar: Cifar, split: str, folder: Path) -> Arrays:
    per_file = cifar.records if split == "train" else TEST_RECORDS
    files = [folder / file for file in cifar.files[split]]
    records = np.concatenate([_read_records(cifar, file, per_file) for file in files])
    images = records[:, cifar.label_bytes :].reshape(-1, 3, SIDE, SIDE)
    return images, records[:, cifar.label_bytes - 1]


def _read_records(cifar: Cifar, file: Path, count: int) -> npt.NDArray[np.uint8]:
    size = cifar.label_bytes + PIXELS
    content = np.frombuffer(read_bytes(cifar.name, file), dtype=np.uint8)
    if len(content) != count * size:
        raise InputError(
            f"{file}: has {len(content)} bytes instead of {count * size}",
            "it is truncated or damaged: delete it and get it again",
        )
    return content.reshape(count, size)


def _read_torchvision(cifar: Cifar, split: str, root: Path, download: bool) -> Arrays:
    from torchvision import datasets

    kind = getattr(datasets, cifar.name)
    folder = root / kind.base_folder
    if download:
        open_with_torchvision(cifar.name, root, download=True)
    elif not folder.is_dir():
        raise missing(cifar.name, root / cifar.folder, folder)
    files = kind.train_list if split == "train" else kind.test_list
    return read_pickles(cifar.name, [(folder / file, md5) for file, md5 in files])

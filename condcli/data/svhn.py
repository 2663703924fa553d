"""SVHN, the street view house numbers, from torchvision."""

from __future__ import annotations

from pathlib import Path

from condcli.data.arrays import in_memory
from condcli.data.locate import missing, open_with_torchvision
from condcli.data.normalization import Normalization
from condcli.data.probe_set import Examples
from condcli.errors import InputError

USUAL = Normalization((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))


def open_svhn(split: str, root: Path, download: bool) -> Examples:
    """Images (3, 32, 32) and labels 0..9."""
    file = root / f"{split}_32x32.mat"
    if not download and not file.is_file():
        raise missing("SVHN", file)
    try:
        dataset = open_with_torchvision("SVHN", root, download=download, split=split)
    except RuntimeError as error:
        raise InputError(
            f"{file}: damaged", "delete it and get it again with --download"
        ) from error
    return in_memory(dataset.data, dataset.labels, source=str(file), classes=10, usual=USUAL)

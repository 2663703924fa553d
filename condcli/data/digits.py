"""The 1,797 handwritten digits that are shipped with condcli; digits.md has source and licence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from condcli.data.arrays import in_memory
from condcli.data.normalization import Normalization
from condcli.data.probe_set import Examples

TRAIN = 1500  # the first so many; the rest is the test split
USUAL = Normalization((0.3051,), (0.3750,))  # of the training split


def open_digits(split: str, root: Path, download: bool) -> Examples:
    """Images (1, 8, 8) in 0..1 and labels 0..9; neither `root` nor `download` matters."""
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as archive:
        images, labels = archive["x"], archive["y"]
    part = {"train": slice(TRAIN), "test": slice(TRAIN, None), "all": slice(None)}[split]
    pixels = images[part, None].astype(np.float32) / 16
    return in_memory(pixels, labels[part], source="digits", classes=10, usual=USUAL)

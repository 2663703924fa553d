"""Text that is everywhere: the sources of Python's standard library, as bytes."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

LENGTH = 128  # bytes of an example
EXAMPLES = 16_000


def sources() -> tuple[Tensor, Tensor]:
    """Windows of the text (N, LENGTH), and for each byte the one that follows (N, LENGTH)."""
    windows = whole()[: EXAMPLES * LENGTH + 1]
    count = (len(windows) - 1) // LENGTH
    x, y = (windows[start : start + count * LENGTH].view(count, LENGTH) for start in (0, 1))
    return x, y


def whole() -> Tensor:
    """All modules at the top of the standard library, by name."""
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    text = b"".join(file.read_bytes() for file in files)
    return torch.frombuffer(bytearray(text), dtype=torch.uint8).long()

"""Memory for what is kept over all batches, in large pages where the system has them.

The first touch of a small page costs a microsecond or more: for all that is kept of a network of
wide linear layers, as much as its forward pass. A large page is 512 small ones at one touch.
"""

from __future__ import annotations

import mmap
import threading
from math import prod

import torch
from torch import Tensor

PIECE = 2**25  # bytes asked of the system at a time; only those that are used are taken
ALIGNMENT = 64

_lock = threading.Lock()
_unused = torch.empty(0, dtype=torch.uint8)  # the rest of the latest piece


def kept_copy(tensor: Tensor) -> Tensor:
    """A copy of the tensor, contiguous and without history."""
    if tensor.device.type != "cpu" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return tensor.detach().clone(memory_format=torch.contiguous_format)
    room = _taken(tensor.numel() * tensor.itemsize).view(tensor.dtype)
    return room[: prod(tensor.shape)].view(tensor.shape).copy_(tensor.detach())


def forget_rest() -> None:
    """Let go of what no copy is in."""
    global _unused
    with _lock:
        _unused = _unused[:0].clone()


def _taken(size: int) -> Tensor:
    """So many bytes, for one copy alone."""
    global _unused
    size = -(-size // ALIGNMENT) * ALIGNMENT
    with _lock:
        if size > len(_unused):
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared ones have small pages
            memory = mmap.mmap(-1, max(size, PIECE), flags=flags)
            memory.madvise(mmap.MADV_HUGEPAGE)
            _unused = torch.frombuffer(memory, dtype=torch.uint8)
        taken, _unused = _unused[:size], _unused[size:]
    return taken

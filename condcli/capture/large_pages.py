"""Memory for what is kept over all batches, in large pages where the system has them.

The first touch of a small page costs a microsecond or more: for all that is kept of a network of
wide linear layers, as much as its forward pass. A large page is 512 small ones at one touch, and
what one probe has touched serves the next.
"""

from __future__ import annotations

import mmap
import sys
import threading
from math import prod
from typing import Any

import torch
from torch import Tensor

PIECE = 2**25  # bytes asked of the system at a time; only those that are used are taken
KEPT = 2**28  # bytes that are kept for the next probe
ALIGNMENT = 64

_lock = threading.Lock()
_pieces: list[mmap.mmap] = []
_unused = torch.empty(0, dtype=torch.uint8)  # the rest of the latest piece


def kept_copy(tensor: Tensor) -> Tensor:
    """A copy of the tensor, contiguous and without history."""
    if tensor.device.type != "cpu" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return tensor.detach().clone(memory_format=torch.contiguous_format)
    room = _taken(tensor.numel() * tensor.itemsize).view(tensor.dtype)
    return room[: prod(tensor.shape)].view(tensor.shape).copy_(tensor.detach())


def give_back_pieces() -> None:
    """Return to the system the pieces that no copy is in, all but ``KEPT`` bytes of them."""
    global _unused
    with _lock:
        _unused = _unused[:0].clone()
        kept = 0
        for place in reversed(range(len(_pieces))):
            if _is_free(place):
                kept += len(_pieces[place])
                if kept > KEPT:
                    del _pieces[place]


def _taken(size: int) -> Tensor:
    """So many bytes, for one copy alone."""
    global _unused
    size = -(-size // ALIGNMENT) * ALIGNMENT
    with _lock:
        if size > len(_unused):
            _unused = _unused[:0].clone()
            _unused = torch.frombuffer(_piece(size), dtype=torch.uint8)
        taken, _unused = _unused[:size], _unused[size:]
    return taken


def _piece(size: int) -> mmap.mmap:
    """A piece of so many bytes or more, that no copy is in."""
    for place in range(len(_pieces)):
        if len(_pieces[place]) >= size and _is_free(place):
            return _pieces[place]
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared ones have small pages
    memory = mmap.mmap(-1, max(size, PIECE), flags=flags)
    memory.madvise(mmap.MADV_HUGEPAGE)
    _pieces.append(memory)
    return memory


def _references(things: list[Any], place: int) -> int:
    return sys.getrefcount(things[place])


_ALONE = _references([object()], 0)


def _is_free(place: int) -> bool:
    """Whether no tensor is left that views the piece: each keeps a reference to it."""
    return _references(_pieces, place) == _ALONE

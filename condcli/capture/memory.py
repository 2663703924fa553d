"""Memory: what a batch will take, what there is, and the most that was used."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from condcli.errors import CannotFinishError

GIB = 2**30
# Beside what autograd keeps, a pass holds gradients and work space of about the same size.
PASS_FACTOR = 2


def peak_memory(device: torch.device) -> int:
    """Bytes at the highest: of the CUDA allocator, or of this process so far; 0 if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be had on ``device``; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as lines:
            fields = dict(line.split(":") for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return None


class SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes that autograd keeps for the backward pass, each storage once."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(self._keep, lambda tensor: tensor)
        self.bytes = 0
        self._seen = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def require_room(example_bytes: int, batch_size: int, device: torch.device) -> None:
    """Raise CannotFinishError when a batch will not fit, with the largest size that will."""
    room = available_memory(device)
    needed = PASS_FACTOR * example_bytes * batch_size
    if room is None or needed <= room:
        return
    fitting = max(1, room // max(1, PASS_FACTOR * example_bytes))
    raise CannotFinishError(
        f"a batch of {batch_size} examples needs about {needed / GIB:.1f} GiB on {device}, and "
        f"{room / GIB:.1f} GiB are free",
        f"pass --batch-size {fitting}" if fitting < batch_size else "free some memory",
    )

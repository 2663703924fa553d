"""Memory: what a batch will take, what there is, and the most that was used."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from condcli import machine
from condcli.capture.large_pages import give_back_pieces
from condcli.capture.wide import wide_need
from condcli.errors import CannotFinishError

if TYPE_CHECKING:
    from condcli.capture.options import Options
    from condcli.capture.rehearsal import Rehearsal

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_MMAP_THRESHOLD = 2**25  # that glibc takes
KEPT = 2**29  # bytes that are free, at the most, which stay for the next probe
# Beside what autograd keeps, a pass holds gradients and work space of about the same size.
PASS_FACTOR = 2
# Where the graph goes backward more than once, it stays, and so do the gradients of all layers.
AGAIN_FACTOR = 3
# A moment's entry: its sum and its mean in float64, and a copy. Four layers of 1500 x 1500 took 24
# in float64 and 15 in float32, all in all; moments of displaced patches, written in place, 8 to 20.
MOMENT_BYTES = 24
# A weight's, of the layer whose turn it is: W and ∂L/∂W in float64, with what LAPACK copies.
WEIGHT_BYTES = 48
BLAS_SPACE = 3 * 2**27  # two threads decompose matrices, and Lanczos has a BLAS of its own


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
    free = machine.free_memory()
    return None if free is None else free.bytes


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """glibc keeps what is freed for what is asked next; on leaving it gives back much of it.

    It would give large pieces back at once, and each new one costs a fault for every page, which
    is a fifth of a pass over large maps. Other C libraries are left alone.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        if libc is not None:
            libc.mallopt(M_TRIM_THRESHOLD, KEPT)
        give_back_freed()


def give_back_freed(keep: int = KEPT) -> None:
    """Have glibc return what is free, also from between what is not, if it is more than ``keep``.

    One of a series of probes begins with the memory of the one before, whose pages it need not ask
    for again: a tenth of a short pass.
    """
    give_back_pieces()
    libc = _glibc()
    if libc is not None and _free_bytes(libc) > keep:
        libc.malloc_trim(0)


class _Mallinfo2(ctypes.Structure):
    """``struct mallinfo2`` of malloc.h; ``fordblks`` is what is free."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _free_bytes(libc: ctypes.CDLL) -> float:
    """What glibc has that nobody uses, given back or not; no bound where it is too old to tell."""
    if not hasattr(libc, "mallinfo2"):
        return math.inf
    libc.mallinfo2.restype = _Mallinfo2
    return int(libc.mallinfo2().fordblks)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "malloc_trim") else None


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
        # A node that kept its own output would never be freed, nor what leads to it.
        return tensor.detach()


def require_room(
    needs: Mapping[str, tuple[float, str]], device: torch.device, *, processes: int = 1
) -> None:
    """Raise CannotFinishError when ``needs``, by purpose, exceed what ``device`` has free.

    So many ``processes`` need the same and share the machine's memory; each has a GPU of its own.
    A need is its bytes, and what makes it smaller; the largest one's remedy is given.
    """
    if has_room(needs, device, processes=processes):
        return
    room, total = _room(device, processes), _total(needs)
    assert room is not None
    parts = ", ".join(f"{machine.size(need)} for {what}" for what, (need, _) in needs.items())
    raise CannotFinishError(
        f"about {machine.size(total)} are needed on {device} ({parts}), and {machine.size(room)} "
        f"are free{_limit(device)}{' for each process' if processes > 1 else ''}",
        max(needs.values())[1],
    )


def _limit(device: torch.device) -> str:
    """What sets the limit, where that is not the machine itself."""
    free = machine.free_memory() if device.type == "cpu" else None
    return f" within {free.by}" if free and free.by != "the machine" else ""


def has_room(
    needs: Mapping[str, tuple[float, str]], device: torch.device, *, processes: int = 1
) -> bool:
    """Whether ``device`` has as much free; also where that is unknown."""
    total, room = _total(needs), _room(device, processes)
    if room is not None and total > room:
        give_back_freed(keep=0)
        room = _room(device, processes)
    return room is None or total <= room


def _room(device: torch.device, processes: int) -> int | None:
    room = available_memory(device)
    return room if room is None or device.type != "cpu" else room // processes


def _total(needs: Mapping[str, tuple[float, str]]) -> float:
    return sum(size for size, _ in needs.values())


def needs(
    rehearsal: Rehearsal, options: Options, *, batch_size: int, examples: int
) -> dict[str, tuple[float, str]]:
    """What a probe needs, as ``require_room`` takes it."""
    factor = PASS_FACTOR if options.fisher == "empirical" else AGAIN_FACTOR
    batch = factor * rehearsal.saved_bytes * batch_size
    found = {
        f"a batch of {batch_size}": (float(batch), "pass a smaller --batch-size"),
        "the moments": moments_need(rehearsal.moment_numbers, rehearsal.widest),
        "singular values": (
            float(WEIGHT_BYTES * rehearsal.most_weights + _work_space(options.device)),
            f"leave large layers out, such as --exclude {rehearsal.widest}",
        ),
    }
    if rehearsal.wide:
        found["wide layers"] = wide_need(rehearsal.wide, examples, options)
    if options.per_example != "none":
        numbers, way_out = _of_each_example(rehearsal, options)
        need = float(numbers * examples * options.dtype.itemsize)
        found["per-example gradients"] = (need, way_out)
    return found


def _work_space(device: torch.device) -> int:
    """Address space of NumPy's and SciPy's BLAS: without it, it ends the process by itself."""
    free = machine.free_memory() if device.type == "cpu" else None
    return BLAS_SPACE if free and free.by.startswith("RLIMIT") else 0


def moments_need(numbers: int, widest: str) -> tuple[float, str]:
    """What so many entries take, and what makes it less: to leave out the ``widest`` layer."""
    return (
        float(MOMENT_BYTES * numbers),
        f"pass a smaller --max-dim, or leave wide layers out, such as --exclude {widest}, or name "
        "some with --layers",
    )


def _of_each_example(rehearsal: Rehearsal, options: Options) -> tuple[int, str]:
    """The numbers that are kept, and those of one layer once more (twice for X and Δ, which are
    put together and scaled), when its λ_max is found; and what makes them fewer.
    """
    factors = rehearsal.factor_numbers + 2 * rehearsal.most_factors
    if options.per_example != "all":
        return factors, "pass --per-example none, or fewer --samples"
    gradients = rehearsal.gradient_numbers + rehearsal.most_gradients
    return factors + gradients, "pass --per-example auto, or fewer --samples"

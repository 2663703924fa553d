"""The batch size that memory allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from condcli.capture.memory import has_room, needs
from condcli.capture.options import Options
from condcli.capture.rehearsal import Rehearsal
from condcli.errors import BatchTooLargeError

# More examples in a batch make no pass faster: a CPU's caches are full, a GPU's cores are busy.
LARGEST = {"cuda": 512}
USUAL = 128

Result = TypeVar("Result")


def least_size(model: nn.Module, *, norm: str, examples: int) -> int:
    """The smallest size that leaves no batch of one example to batch statistics."""
    if norm == "batch" and any(isinstance(module, _BatchNorm) for module in model.modules()):
        return min(examples, 2 + examples % 2)
    return 1


def fitting(
    rehearsal: Rehearsal, options: Options, *, examples: int, least: int = 1, processes: int = 1
) -> int:
    """The largest useful batch that fits into free memory by estimate; ``least`` if none does.

    So many ``processes`` share the machine's memory.
    """
    size = min(LARGEST.get(options.device.type, USUAL), max(1, examples))
    while size > least:
        required = needs(rehearsal, options, batch_size=size, examples=examples)
        if has_room(required, options.device, processes=processes):
            break
        size = max(least, halved(size))
    return size


def halving(measured: Callable[[int], Result], size: int, *, least: int = 1) -> Result:
    """What ``measured`` returns for a batch size; for half of it, and so on, where memory ran out.

    Raises BatchTooLargeError when it runs out for the ``least`` size, too.
    """
    while True:
        try:
            return measured(size)
        except BatchTooLargeError:
            if size <= least:
                raise
        # Only here, outside, is all that the error's traceback held on to free again.
        size = max(least, halved(size))


def halved(size: int) -> int:
    """Half of the size, rounded up: batches stay nearly equal."""
    return -(-size // 2)

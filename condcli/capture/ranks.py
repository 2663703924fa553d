"""Several processes that measure one probe set together, as ``torchrun`` starts them.

Each takes its share of the batches; what they add up is all-reduced, and the first writes. Of all
that goes wrong one process speaks, and all end: whoever is first to note a failure in the job's
store tells it, and the others leave in silence with its exit code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from condcli.errors import CannotFinishError, Terminated, Told, UsageError

# How long one process waits for another that neither answers nor breaks its connection.
PATIENCE = timedelta(minutes=30)
FAILURE = "condcli/failure"  # exit code and number of the process that failed first


@dataclass(frozen=True)
class Ranks:
    """This process's number among those that measure together, and how they exchange numbers."""

    number: int = 0  # from 0
    of: int = 1

    @property
    def here(self) -> int:
        """How many of them share this machine's memory."""
        return _number("LOCAL_WORLD_SIZE", self.of) if self.of > 1 else 1

    def device(self, name: str) -> str:
        """The device that ``auto`` or ``cuda`` means: several processes have one each."""
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if name == "cuda" and self.of > 1 else name

    def gathered(self, item: Any) -> list[Any]:
        """The items of all processes, in their order; an item is anything that can be pickled."""
        items: list[Any] = [item] * self.of
        if self.of > 1:
            with _peers():
                dist.all_gather_object(items, item)
        return items

    def gathered_first(self, item: Any) -> list[Any]:
        """The same in the first process; nothing in the others."""
        items: list[Any] | None = [item] * self.of if self.number == 0 else None
        if self.of > 1:
            with _peers():
                dist.gather_object(item, items)
        return items or []

    def add_up(self, tensor: Tensor) -> None:
        """Make the tensor, in place, the sum over all processes."""
        if self.of > 1:
            with _peers():
                dist.all_reduce(tensor)


ALONE = Ranks()


class PeerLostError(CannotFinishError):
    """Another process of the job is gone, without a word."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this job died, or the job was stopped: no file was written",
            "see what torchrun says of it below (SIGKILL: memory may be short), and start it again",
        )


def launched() -> bool:
    """Whether ``torchrun`` has started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and _number("WORLD_SIZE", 1) > 1


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not (text.isascii() and text.isdigit()):
        raise UsageError(
            f"{variable}={text} in the environment is no number", "leave it to torchrun"
        )
    return int(text)


def present() -> Ranks:
    """Those of torch's default process group; this process alone where there is none."""
    return Ranks(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ALONE


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process among those that ``torchrun`` started; alone if it did not.

    ``device`` is as on the command line. When one fails, all raise; one of them its error, so that
    it is told once, the others ``Told``.
    """
    if not launched():
        yield ALONE
        return
    store, number, of = next(iter(rendezvous("env://", timeout=PATIENCE)))
    try:
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"--device {device} is one device, and {of} processes share the work",
                "pass --device cuda for a GPU each, or cpu",
            )
        dist.init_process_group(
            _backend(device),
            store=PrefixStore("condcli/group", store),
            rank=number,
            world_size=of,
            timeout=PATIENCE,
        )
        yield Ranks(number, of)
    except BaseException as error:
        told = _for_one(error, store, number)
        if told is error:
            raise
        raise told from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _backend(device: str) -> str:
    on_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    return "cpu:gloo,cuda:nccl" if on_cuda else "gloo"


@contextmanager
def _peers() -> Iterator[None]:
    """Tell what a broken connection means."""
    try:
        yield
    except RuntimeError as error:  # torch.distributed's own errors are such
        raise PeerLostError from error


def _for_one(error: BaseException, store: Store, number: int) -> BaseException:
    """The error in the first process that fails, and ``Told`` in the others."""
    if isinstance(error, Terminated):  # by torchrun, because another process failed
        error = PeerLostError()
    code = 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 70)
    with suppress(RuntimeError):  # the store has gone with its process: then each speaks
        own = f"{code} {number}"
        first = store.compare_set(FAILURE, "", own).decode()
        if first != own:
            return Told(int(first.split()[0]))
    return error

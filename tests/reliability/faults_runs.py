"""What befalls a run: called in the child before condcli starts."""

from __future__ import annotations

import errno
import os
import signal
from itertools import count
from typing import Any, BinaryIO, NoReturn

import torch

from condcli import statsfile
from condcli.capture import state_file
from condcli.errors import CannotFinishError


def ignore_hang_up() -> None:
    """As `nohup` does."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def kill_while_saving() -> None:
    """The process is killed in the midst of the third state."""
    whole, states = state_file.write, count(1)

    def write(file: BinaryIO, *rest: Any) -> None:
        whole(file, *rest)
        if next(states) == 3:
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    state_file.write = write


def two_threads() -> None:
    """The machine lets torch have another number of threads than before."""
    torch.set_num_threads(2)


def no_room_for_the_output() -> None:
    """The disk is full when the statistics are to be written."""

    def write(*_: object, **__: object) -> NoReturn:
        raise CannotFinishError(
            f"out.h5: cannot be written ({errno.errorcode[errno.ENOSPC]})", "free some space"
        )

    statsfile.write = write  # type: ignore[assignment]

"""What ends a run from outside: Ctrl-C, SIGTERM and a terminal that has gone (SIGHUP)."""

from __future__ import annotations

import os
import signal

from condcli.errors import Terminated

TYPE_CHECKING = False  # typing would be half of what is imported here
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_received: list[int] = []


def on_signal(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Have each signal that ends a run handled so, but for those that the caller has ignored."""
    for number in ENDING:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):  # nohup ignores SIGHUP
            signal.signal(number, handler)


def leave_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """Leave while nothing is open yet: an exception would end as someone's import error."""
    if number == signal.SIGINT:
        os.write(2, b"condcli: interrupted\n")
    os._exit(128 + number)


def leave_by_exception(number: int, frame: FrameType | None) -> NoReturn:
    """Leave so that what is half done is cleaned up."""
    on_signal(leave_at_once)  # a second one does not wait for that
    _received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(number)


def forget() -> None:
    """Begin a run to which no signal has come."""
    _received.clear()


def received() -> int | None:
    """The signal that has come; imports in C make other exceptions of the one that it raises."""
    return _received[-1] if _received else None

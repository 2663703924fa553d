"""Where ``condcli`` begins: signals and streams are set up before anything slow is imported."""

from __future__ import annotations

import atexit
import os
import signal
import sys

from condcli.signals import leave_at_once, leave_by_exception, on_signal

TYPE_CHECKING = False  # as in condcli.signals
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and leave with its exit code (docs/commands.md)."""
    on_signal(leave_at_once)
    # Registered first, called last: nobody can hear of a signal while the interpreter ends.
    atexit.register(on_signal, signal.SIG_IGN)
    keep_stdout_for_results()
    # NumPy's threads would fight torch's, and waiting for each other cost more than they gain.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from condcli.cli import run

    on_signal(leave_by_exception)
    code = run(sys.argv[1:])
    on_signal(lambda number, frame: os._exit(code))  # the work is done
    flush()
    sys.exit(code)


def flush() -> None:
    """Nothing is left that the interpreter would fail to write when it ends."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:  # that has been reported
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def keep_stdout_for_results() -> None:
    """Send to stderr what C code and child processes write to stdout; only `sys.stdout` gets there.

    Streams that are closed are opened on nothing: the next file would take their place.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        return
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = open(own, "w", encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
    sys.__stdout__ = sys.stdout  # type: ignore[misc]  # tells how wide the terminal is

"""System calls that fail on demand, by a library that is loaded before all others.

Where it cannot be built (no C compiler, no LD_PRELOAD) the cases that need it are skipped.
"""

from __future__ import annotations

import ctypes
import errno
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


@dataclass(frozen=True)
class Fault:
    """The `nth` call of a kind, on a path that holds `path`, fails with `error`.

    The kinds are open, read, write, fsync and rename, with links.
    `lasting` lets all that follow it fail too: a disk stays full.
    """

    call: str
    error: str  # a name of `errno`
    nth: int = 1
    path: str = ""
    lasting: bool = False


def built(folder: Path) -> Path | None:
    """The library, compiled into the folder; None where that cannot be done."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "nth_call.so"
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wno-nonnull-compare", "-ldl"]
    subprocess.run([compiler, str(_SOURCE), "-o", str(library), *options], check=True)
    return library


def arm(call: str, error: str, nth: int, path: str, lasting: bool, marker: str) -> None:
    """Let the fault happen in this process; when it does, a file is made at `marker`."""
    library = ctypes.CDLL(None)
    library.nth_call_arm(
        call.encode(),
        ctypes.c_long(nth),
        getattr(errno, error),
        int(lasting),
        path.encode(),
        marker.encode(),
    )

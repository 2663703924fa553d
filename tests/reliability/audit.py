"""What a command opens for writing, sends or starts, as Python's audit hooks tell."""

from __future__ import annotations

import os
import sys
from pathlib import Path

LOG = "CONDCLI_TEST_AUDIT"  # names the file that gets a line for each thing
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Events whose first argument, or first two, are paths that change.
_CHANGES = {
    "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1, "os.chmod": 1, "os.chown": 1,
    "os.utime": 1, "os.setxattr": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2,
}  # fmt: skip
_OUTSIDE = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.sendto",
    "subprocess.Popen",
    "os.system",
)


def install() -> None:
    """Log from now on; to be injected into a child."""
    log = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND)
    folder = Path.cwd()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        for found in _told(event, arguments):
            where = found if event in _OUTSIDE else os.path.join(folder, found)
            os.write(log, f"{event}\t{where}\n".encode(errors="backslashreplace"))

    sys.addaudithook(hook)


def _told(event: str, arguments: tuple[object, ...]) -> list[str]:
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & _WRITING
        return [os.fsdecode(path)] if writes and isinstance(path, str | bytes | os.PathLike) else []
    if event in _OUTSIDE:
        return [repr(arguments)]
    paths = arguments[: _CHANGES.get(event, 0)]
    return [os.fsdecode(path) for path in paths if isinstance(path, str | bytes | os.PathLike)]

"""The memory that this process can still have, by whichever limit is the nearest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from condcli.errors import CannotFinishError

MIB, GIB = 2**20, 2**30
LARGER = "use a larger machine, or allow more memory"
_UNLIMITED = 2**60  # what cgroup v1 calls no limit is more than that
_TORCH = 450 * MIB  # that importing torch takes; of address space, some builds take 3 GiB
_AMPLE = 6 * GIB  # of address space: any build of torch starts in that
_PATIENCE = 60.0  # seconds
_START = "import condcli.capture, condcli.data, condcli.models, condcli.statsfile"


@dataclass(frozen=True, slots=True)
class Budget:
    """Free memory, and which limit sets it."""

    bytes: int
    by: str  # the machine, the cgroup, RLIMIT_AS or RLIMIT_DATA


def free_memory(root: Path = Path("/")) -> Budget | None:
    """The least that any limit leaves; None where nothing is known. ``root`` is of the files."""
    return min(_budgets(root), key=lambda budget: budget.bytes, default=None)


def require(need: float, what: str, remedy: str) -> None:
    """Raise CannotFinishError, with numbers, where ``what`` needs more bytes than are free."""
    free = free_memory()
    if free is not None and need > free.bytes:
        raise CannotFinishError(f"{what} needs about {size(need)}, and {told(free)}", remedy)


def require_to_start() -> None:
    """Raise CannotFinishError where torch itself would not fit: it can die without a word there.

    How much address space it takes differs from build to build: where that is limited to little,
    another process tries.
    """
    if "torch" in sys.modules:
        return
    for budget in _budgets(Path("/")):
        tight = budget.bytes < _AMPLE if budget.by.startswith("RLIMIT") else False
        if budget.bytes < _TORCH or (tight and not _starts()):
            raise CannotFinishError(
                f"memory is too short to start torch: {told(budget)}",
                "raise the limit, or free some",
            )


def _starts() -> bool:
    begin = f"import sys; sys.path[:] = {sys.path!r}; {_START}"  # no folder that -c adds
    command = [sys.executable, "-c", begin]
    null = subprocess.DEVNULL
    try:
        subprocess.run(command, stdin=null, stdout=null, stderr=null, check=True, timeout=_PATIENCE)
    except (subprocess.SubprocessError, OSError):  # an import without memory can also hang
        return False
    return True


def is_limited() -> bool:
    """Whether this process itself may have only so much memory or address space."""
    return any(True for _ in _own_limits(Path("/")))


def size(number: float) -> str:
    """Bytes in words: 1.2 GiB, 300 MiB, 12 KiB."""
    if number >= 0.95 * GIB:
        return f"{number / GIB:.3g} GiB"
    return f"{number / MIB:.3g} MiB" if number >= 0.95 * MIB else f"{number / 1024:.3g} KiB"


def told(free: Budget) -> str:
    """How much is free, and by which limit."""
    limit = "" if free.by == "the machine" else f" within {free.by}"
    return f"{size(free.bytes)} are free{limit}"


def left() -> str:
    """What is free now, in brackets, for errors that come when memory has run out."""
    free = free_memory()
    return "" if free is None else f" ({told(free)} now)"


def _budgets(root: Path) -> Iterator[Budget]:
    available = _field(root / "proc/meminfo", "MemAvailable:")
    if available is not None:
        yield Budget(1024 * available, "the machine")
    for free in (*_second_version(root), *_first_version(root)):
        yield Budget(max(0, free), "the cgroup")
    yield from _own_limits(root)


def _own_limits(root: Path) -> Iterator[Budget]:
    if sys.platform != "linux":
        return
    import resource

    for limit, used in (("RLIMIT_AS", "VmSize:"), ("RLIMIT_DATA", "VmData:")):
        most = resource.getrlimit(getattr(resource, limit))[0]
        kilobytes = _field(root / "proc/self/status", used)
        if most != resource.RLIM_INFINITY and kilobytes is not None:
            yield Budget(max(0, most - 1024 * kilobytes), limit)


def _second_version(root: Path) -> Iterator[int]:
    """What each cgroup that holds this process leaves, under version 2."""
    for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
        for folder in _folders(root, mount, ""):
            most, used = _number(folder / "memory.max"), _number(folder / "memory.current")
            if most is not None and used is not None:
                yield most - used + (_field(folder / "memory.stat", "inactive_file") or 0)


def _first_version(root: Path) -> Iterator[int]:
    """The same under version 1, which says so with huge numbers where there is no limit."""
    for folder in _folders(root, "sys/fs/cgroup/memory", "memory"):
        most = _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.usage_in_bytes")
        if most is not None and used is not None and most < _UNLIMITED:
            yield most - used + (_field(folder / "memory.stat", "total_inactive_file") or 0)


def _folders(root: Path, mount: str, controller: str) -> Iterator[Path]:
    """That of this process's cgroup and all above it; in a container, only the mount is seen."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller in controllers.split(","):
            top = root / mount
            own = top / path.strip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def _number(file: Path) -> int | None:
    """The number in a file; None for another word, such as max, and without the file."""
    text = "".join(_lines(file)).strip()
    return int(text) if text.isdecimal() else None


def _field(file: Path, name: str) -> int | None:
    for line in _lines(file):
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdecimal():
            return int(words[1])
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []

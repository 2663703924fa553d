"""Where and with what a benchmark ran."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import condcli

GIB = 2**30


def machine(*, threads: int) -> dict[str, str]:
    """The processor, memory, versions, threads and date, by name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "processor": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "threads": str(threads),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "condcli": condcli.__version__,
        **versions(["torch", "numpy", "scipy"]),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed versions by package; those that are not installed are left out."""
    found = {}
    for package in filter(None, packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()

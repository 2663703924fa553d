"""What must be the same for two runs to give the same bits, beside model, data and options."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import condcli

# Those whose code networks and data are made of; of the others torch's version tells enough.
PACKAGES = ("numpy", "scipy", "torchvision", "timm", "transformers", "datasets", "Pillow")


def surroundings(device: torch.device) -> dict[str, str]:
    """The versions of programs, and what the machine computes with, by name."""
    found = {
        "condcli": condcli.__version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
        **{name: installed for name in PACKAGES if (installed := _version(name))},
        "threads": str(torch.get_num_threads()),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }
    if device.type == "cuda":
        found["GPU"] = torch.cuda.get_device_name(device)
    return found


def code(specs: Iterable[str]) -> dict[str, str]:
    """The sha256 of every file that a ``FILE.py:function`` or ``module:function`` names."""
    files = {file for spec in specs if (file := _file(spec)) is not None}
    return {f"the code of {file}": _digest(file) for file in sorted(files)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _file(spec: str) -> Path | None:
    place = spec.partition("(")[0].rpartition(":")[0]
    if place.endswith(".py"):
        return Path(place)
    file = getattr(sys.modules.get(place), "__file__", None)
    return Path(file) if file else None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "missing"

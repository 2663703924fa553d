"""The contestants, a module each, with two functions.

- ``prepare(task)`` does what need not be timed, and returns the function that is: forward,
  backward and both factors of all layers over the whole probe set, returned as the library has it.
- ``factors(task, result)`` brings that to one form: layer name to (Σ_x, Σ_∇h), the means over rows
  of x xᵀ (no column of ones for the bias) and of δ δᵀ, δ from the summed loss.

A third, ``pass_seconds(result)``, is only for a library that times its own pass.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

# Name to the package that it needs beside torch and condcli, as it is called on the index.
CONTESTANTS: dict[str, str] = {
    "bare": "",
    "bare_no_dw": "",
    "hooks": "",
    "condcli": "",
    "kronfluence": "kronfluence",
    "curvlinops": "curvlinops-for-pytorch",
    "nngeometry": "nngeometry",
    "backpack": "backpack-for-pytorch",
    "asdl": "asdfghjkl",  # what is called asdl on the index is something else
}


class Unsupported(Exception):
    """The library cannot do the workload; the text says why."""


def contestant(name: str) -> ModuleType:
    """The module of that name; Unsupported when its library is missing."""
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise Unsupported(f"no {error.name} here: pip install -e '.[bench]'") from None


def require_patches(conv: str) -> None:
    """Raise Unsupported for the view that only condcli has."""
    if conv == "channels":
        raise Unsupported("has patch factors only")

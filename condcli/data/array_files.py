"""`FILE.npz` and `FILE.pt` with arrays `x` and `y`. Pickled objects are refused, never opened."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from condcli.data.arrays import in_memory
from condcli.data.probe_set import Examples
from condcli.data.request import Request
from condcli.errors import CannotFinishError, CondcliError, InputError, UnsafeError

PICKLE = b"\x80"  # the first byte of a pickle of protocol 2 and up


def open_npz(path: str, request: Request) -> Examples:
    """The examples of np.savez(FILE, x=…, y=…)."""
    file = Path(path)
    _require_sound_zip(file)
    try:
        with np.load(file, allow_pickle=False) as archive:
            keys = archive.files
            arrays = {key: archive[key] for key in ("x", "y") if key in keys}
    except ValueError as error:
        if "allow_pickle" in str(error):  # what numpy says about arrays of objects
            raise _unsafe(file) from error
        raise _damaged(file) from error
    except Exception as error:
        raise _unreadable(file, error) from error
    _require_keys(file, keys)
    return in_memory(arrays["x"], arrays["y"], source=str(file))


def open_pt(path: str, request: Request) -> Examples:
    """The examples of torch.save({"x": …, "y": …}, FILE)."""
    import pickle

    import torch

    file = Path(path)
    _require_sound_zip(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unsafe(file) from error
    except Exception as error:  # torch raises eight types; its text is not for users
        raise _unreadable(file, error) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{file}: holds a {type(content).__name__}", "save a dict of tensors x and y"
        )
    _require_keys(file, content)
    for key in ("x", "y"):
        _require_own_storage(file, key, content[key])
    return in_memory(content["x"], content["y"], source=str(file))


def _require_sound_zip(file: Path) -> None:
    """Raises unless every entry of the archive has its recorded checksum (torch checks none)."""
    if not file.is_file():
        near = get_close_matches(file.name, [other.name for other in file.parent.glob("*")])
        remedy = f"did you mean {file.with_name(near[0])}?" if near else "check the path"
        raise InputError(f"{file}: no such file", remedy)
    try:
        with file.open("rb") as stream:
            first = stream.read(1)
            damaged = first != PICKLE and zipfile.ZipFile(stream).testzip() is not None
    except Exception as error:
        raise _unreadable(file, error) from error
    if first == PICKLE:
        raise _unsafe(file)
    if damaged:
        raise _damaged(file)


def _require_keys(file: Path, keys: Iterable[Any]) -> None:
    found = [str(key) for key in keys]
    missing = [key for key in ("x", "y") if key not in found]
    if missing:
        raise InputError(
            f"{file}: has no {' and no '.join(missing)}, only {', '.join(found[:10]) or 'nothing'}",
            "store the inputs as x and the targets as y",
        )


def _require_own_storage(file: Path, key: str, value: Any) -> None:
    """Refuses views that repeat a small storage: their honest copy could fill the memory."""
    import torch

    if isinstance(value, torch.Tensor) and value.layout is torch.strided and not value.is_meta:
        claimed, stored = value.numel() * value.element_size(), value.untyped_storage().nbytes()
        if claimed > stored:
            raise InputError(
                f"{file}: {key} claims {claimed} bytes, but {stored} are stored",
                "save a contiguous tensor",
            )


def _unsafe(file: Path) -> UnsafeError:
    return UnsafeError(
        f"{file}: holds pickled objects, which can run code",
        "store plain arrays of numbers x and y, with np.savez or torch.save",
    )


def _unreadable(file: Path, error: Exception) -> CondcliError:
    if isinstance(error, MemoryError):
        return CannotFinishError(f"{file}: does not fit in memory", "probe a smaller file")
    if isinstance(error, PermissionError):
        return InputError(f"{file}: may not be read", "check its permissions")
    return _damaged(file)


def _damaged(file: Path) -> InputError:
    return InputError(f"{file}: truncated, damaged or of another kind", "write it again")

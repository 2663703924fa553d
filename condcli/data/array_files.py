"""`FILE.npz`, `FILE.pt` and `FILE.safetensors`: arrays with names, by the rule of items.py.

Pickled objects are refused, never opened.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from condcli import machine
from condcli.archive import check_archive
from condcli.data.arrays import in_memory
from condcli.data.items import ACCEPTED, as_pair
from condcli.data.locate import existing_file
from condcli.data.probe_set import Examples
from condcli.data.request import Request
from condcli.data.split_names import names_of_split
from condcli.errors import (
    CannotFinishError,
    CondcliError,
    InputError,
    UnsafeError,
    is_out_of_memory,
)
from condcli.files import identity, refuse_stand_in, unchanged
from condcli.npz import check_npz
from condcli.pickled import check_tuples
from condcli.safetensors_file import read_safetensors

PICKLE = b"\x80"  # the first byte of a pickle of protocol 2 and up
ZIP = b"PK\x03\x04"
HARMLESS = 1 << 30  # bytes that an archive may unpack to, however small it is


def open_npz(path: str, request: Request) -> Examples:
    """The examples of np.savez(FILE, x=…, y=…)."""
    file = existing_file(path)
    with unchanged(file) as stream:
        refuse_stand_in(file, stream)
        _require_zip(file, stream)
        check_npz(file, stream, harmless=HARMLESS)
        return _examples(_arrays(file, stream), path, request)


def open_pt(path: str, request: Request) -> Examples:
    """The examples of torch.save({"x": …, "y": …}, FILE), or of a pair (x, y)."""
    import pickle

    import torch

    file = existing_file(path)
    with unchanged(file) as stream:
        refuse_stand_in(file, stream)
        _require_zip(file, stream)
        check_archive(file, stream)
        check_tuples(file, stream)
        machine.require(identity(stream).size, f"reading {file}", machine.LARGER)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = torch.load(stream, map_location="cpu", weights_only=True, mmap=False)
        except pickle.UnpicklingError as error:
            raise _unsafe(file) from error
        except Exception as error:  # torch raises eight types; its text is not for users
            raise unreadable(file, error) from error
    if not isinstance(content, dict | tuple | list):
        raise InputError(f"{file}: holds a {type(content).__name__}", ACCEPTED)
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        _require_own_storage(file, key, value)
    return _examples(content, path, request)


def open_safetensors(path: str, request: Request) -> Examples:
    """The examples of safetensors.torch.save_file({"x": …, "y": …}, FILE)."""
    file = existing_file(path)
    with unchanged(file) as stream:
        refuse_stand_in(file, stream)
        return _examples(read_safetensors(file, stream), path, request)


def _arrays(file: Path, stream: IO[bytes]) -> dict[str, Any]:
    try:
        with np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except ValueError as error:
        if "allow_pickle" in str(error):  # what numpy says about arrays of objects
            raise _unsafe(file) from error
        raise _damaged(file) from error
    except Exception as error:
        raise unreadable(file, error) from error


def _examples(content: Any, path: str, request: Request) -> Examples:
    """Those of the split that is asked for, of arrays with names, or of a pair."""
    named = (
        {str(name): array for name, array in content.items()}
        if isinstance(content, Mapping)
        else {}
    )
    split, chosen = names_of_split(named, request.split, path)
    arrays = {plain: named[name] for plain, name in chosen.items()} if named else content
    return in_memory(*as_pair(arrays, path), source=path, split=split)


def unreadable(file: Path, error: Exception) -> CondcliError:
    """What to say of whatever a library raised while it read `file`."""
    if is_out_of_memory(error):
        return CannotFinishError(
            f"{file}: does not fit in memory", f"probe a smaller file{machine.left()}"
        )
    if isinstance(error, PermissionError):
        return InputError(f"{file}: may not be read", "check its permissions")
    return _damaged(file)


def _require_zip(file: Path, stream: IO[bytes]) -> None:
    """Raises UnsafeError for a pickle, as which torch once saved, InputError for all but a zip."""
    head = stream.read(len(ZIP))
    if head.startswith(PICKLE):
        raise _unsafe(file)
    if head != ZIP:
        raise _damaged(file)


def _require_own_storage(file: Path, key: Any, value: Any) -> None:
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


def _damaged(file: Path) -> InputError:
    return InputError(f"{file}: truncated, damaged or of another kind", "write it again")

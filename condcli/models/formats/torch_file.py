"""torch.load, guarded: data only, or code after `--trust`; never code by falling back."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from condcli import machine
from condcli.errors import CannotFinishError, InputError, UnsafeError, is_out_of_memory
from condcli.models.formats.inert import are_plain_data, pickled_names, placeholders
from condcli.pickled import check_tuples
from condcli.user_code import foreign_code, one_line

SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """What was saved, and what became of the pickled code in it."""

    data: object
    unread: tuple[str, ...] = ()  # names of pickled objects that placeholders stand for
    ran_code: bool = False


def load_torch_file(
    path: Path, file: IO[bytes], *, trust: bool, enough: Callable[[object], bool]
) -> Loaded:
    """What torch.save wrote to `file`, the open one at `path`, on the CPU.

    Pickled code is left unread if what remains is `enough`; else it runs, but only with `trust`.
    Raises UnsafeError when it would be needed, InputError when the file is damaged. torch's own
    messages are not passed on: they tell the reader to turn the guard off.
    """
    machine.require(file.seek(0, os.SEEK_END), f"reading {path}", machine.LARGER)
    check_tuples(path, file)
    try:
        return Loaded(data=load_data(file))
    except pickle.UnpicklingError as error:
        names, whole = pickled_names(file)
        if not names and not whole:
            raise unreadable(path, error) from None
    except Exception as error:  # eight types were seen, and none is documented
        raise unreadable(path, error) from None
    data = _without_code(file, names)
    if data is not None and enough(data):
        return Loaded(data=data, unread=tuple(sorted(names, key=_telling_first)))
    refused = _in_brackets(names)
    if not trust:
        raise UnsafeError(
            f"{path} holds pickled code{refused}",
            "pass --trust to run it, if you trust its origin; or torch.save the state_dict() alone",
        )
    return Loaded(
        data=run_pickle(path, lambda: _load(file, weights_only=False), refused), ran_code=True
    )


def load_data(file: IO[bytes]) -> object:
    """What torch.load's weights-only guard reads; raises whatever it raises."""
    return _load(file, weights_only=True)


def run_pickle(path: Path, load: Callable[[], object], refused: str = "") -> object:
    """What `load` returns that runs the code pickled in `path`, its errors explained."""

    def explained(error: BaseException) -> CannotFinishError | InputError:
        if isinstance(error, pickle.UnpicklingError | EOFError):
            return unreadable(path, error)
        if isinstance(error, AttributeError | ImportError):
            return InputError(
                f"{path} holds pickled code{refused} whose definition cannot be imported here "
                f"({one_line(error)})",
                "put the folder of its source on PYTHONPATH, or torch.save the state_dict() alone",
            )
        return InputError(
            f"{path}: its pickled code{refused} fails ({one_line(error)})",
            "correct that code, or torch.save the state_dict() alone",
        )

    try:
        with foreign_code(explained):
            return load()
    except (MemoryError, RuntimeError, OSError) as error:  # all that passes is a lack of memory
        raise unreadable(path, error) from None


def unreadable(path: Path, error: BaseException) -> CannotFinishError | InputError:
    """The error for a file that could not be read, for lack of memory or because of damage."""
    if is_out_of_memory(error):
        return CannotFinishError(
            f"{path} does not fit into memory", f"use a larger machine{machine.left()}"
        )
    return InputError(f"{path} is truncated or damaged", "save or download the checkpoint again")


def _load(file: IO[bytes], *, weights_only: bool) -> object:
    # Both said explicitly: TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD and set_default_mmap_options turn the
    # defaults. Where a mapped file is cut short, no Python survives.
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data: object = torch.load(file, map_location="cpu", weights_only=weights_only, mmap=False)
    return data


def _without_code(file: IO[bytes], names: set[str]) -> object:
    """The data with placeholders for what `names` stands for; None where that cannot be read."""
    if not names or not are_plain_data(names):
        return None
    try:
        with torch.serialization.safe_globals(placeholders(names)):
            return load_data(file)
    except Exception:  # the guard refuses what the placeholders do not take, each in its own way
        return None


def _telling_first(name: str) -> tuple[bool, str]:
    """A settings class tells more than the lists and dicts in it."""
    return name.startswith("builtins."), name


def _in_brackets(names: Iterable[str]) -> str:
    """` ('module.Class', …)`, or nothing where no name is known."""
    shown = sorted(names)
    more = ", …" if len(shown) > SHOWN_NAMES else ""
    return f" ({', '.join(map(repr, shown[:SHOWN_NAMES]))}{more})" if shown else ""

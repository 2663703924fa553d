"""torch.load, guarded: data only, or code after `--trust`; never code by falling back."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import torch

from condcli.errors import CannotFinishError, InputError, UnsafeError, is_out_of_memory
from condcli.user_code import foreign_code, one_line

SHOWN_NAMES = 3


def load_torch_file(path: Path, *, trust: bool) -> tuple[object, bool]:
    """What torch.save wrote to `path`, on the CPU, and whether its pickled code was run.

    Code runs only with `trust`, and only if the file cannot be read without. Raises UnsafeError
    when it would be needed, InputError when the file is damaged. torch's own messages are not
    passed on: they tell the reader to turn the guard off.
    """
    try:
        return _load(path, weights_only=True), False
    except pickle.UnpicklingError:
        refused = _refused_names(path)
    except Exception as error:  # eight types were seen, and none is documented
        raise _unreadable(path, error) from None
    if not trust:
        raise UnsafeError(
            f"{path} holds pickled code{refused}",
            "pass --trust to run it, if you trust its origin; or torch.save the state_dict() alone",
        )
    return _load_trusted(path, refused), True


def _load(path: Path, *, weights_only: bool) -> object:
    # Said explicitly: TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD turns only the default.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data: object = torch.load(path, map_location="cpu", weights_only=weights_only)
    return data


def _load_trusted(path: Path, refused: str) -> object:
    def explained(error: BaseException) -> CannotFinishError | InputError:
        if isinstance(error, pickle.UnpicklingError | EOFError):
            return _unreadable(path, error)
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
            return _load(path, weights_only=False)
    except (MemoryError, RuntimeError, OSError) as error:  # all that passes is a lack of memory
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: BaseException) -> CannotFinishError | InputError:
    if is_out_of_memory(error):
        return CannotFinishError(f"{path} does not fit into memory", "use a larger machine")
    return InputError(f"{path} is truncated or damaged", "save or download the checkpoint again")


def _refused_names(path: Path) -> str:
    """` ('module.Class', …)`, or nothing where torch cannot say: it only reads zip archives."""
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        return ""
    more = ", …" if len(names) > SHOWN_NAMES else ""
    return f" ({', '.join(map(repr, names[:SHOWN_NAMES]))}{more})" if names else ""

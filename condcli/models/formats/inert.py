"""Pickled objects that are no weights, as inert placeholders: what they name is not even imported.

Training code saves its hyperparameters, schedulers and random states beside the weights. torch's
weights-only unpickler refuses the whole file for one of them. Here their names stand for classes
of ours that keep nothing and run nothing, so the unpickler can read past them.
"""

from __future__ import annotations

import pickletools
import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from condcli.pickled import pickles

# Of the standard library, training code pickles these; of any other name of it, one must ask why.
PLAIN_DATA = {
    "argparse.Namespace", "functools.partial", "pathlib.PosixPath", "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath", "pathlib.WindowsPath", "random.Random", "types.SimpleNamespace",
    "builtins.bool", "builtins.dict", "builtins.float", "builtins.frozenset", "builtins.int",
    "builtins.list", "builtins.object", "builtins.str", "builtins.tuple",
}  # fmt: skip
PLAIN_MODULES = {
    "collections", "datetime", "decimal", "fractions", "pathlib._local", "typing", "uuid"
}  # fmt: skip
# What torch's unpickler knows itself: it goes before the placeholders.
KNOWN = re.compile(
    r"torch\.(\w+|_utils\.\w+|_tensor\.\w+|storage\.\w+|cuda\.\w+|nn\.parameter\.Parameter"
    r"|serialization\._get_layout)"
    r"|collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|bytearray|complex)"
)


class Placeholder:
    """Stands for an object that was not read."""

    def __init__(self, *args: object) -> None:
        """Takes and forgets what the object would have been made of."""

    def __new__(cls, *args: object) -> Placeholder:
        """A new one, whatever is given."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Forgets the object's state."""


class _PlainDict:
    """Stands for a class of dicts: the unpickler fills nothing but plain ones."""

    def __new__(cls, *args: object) -> Any:
        return {}


def placeholders(names: Iterable[str]) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """For `torch.serialization.safe_globals`: what stands for each name."""
    return [(_PlainDict if name.lower().endswith("dict") else Placeholder, name) for name in names]


def pickled_names(file: IO[bytes]) -> tuple[set[str], bool]:
    """The `module.name` of all that a torch.save file would import, torch's aside.

    And whether its pickles are whole: of damaged ones they are the names up to there.
    """
    names: set[str] = set()
    try:
        with pickles(file) as parts:
            for part in parts:
                names.update(name for name in _globals(part) if not KNOWN.fullmatch(name))
    except Exception:  # whatever a damaged file makes pickletools or zipfile raise
        return names, False
    return names, True


def are_plain_data(names: Iterable[str]) -> bool:
    """Whether nothing is named of the standard library but its classes of plain data."""
    return all(
        name in PLAIN_DATA
        or name.rpartition(".")[0] in PLAIN_MODULES
        or name.partition(".")[0] not in sys.stdlib_module_names
        for name in names
    )


def _globals(pickled: IO[bytes]) -> Iterator[str]:
    for code, argument, _ in pickletools.genops(pickled):
        if code.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            # torch.save writes Python 2's names, and the unpickler takes them back.
            module, name = NAME_MAPPING.get((module, name), (module, name))
            yield f"{IMPORT_MAPPING.get(module, module)}.{name}"

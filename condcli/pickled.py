"""What a pickle would make, told from its instructions, none of which is carried out.

A few hundred bytes can describe a tuple of tuples that share their halves, sixty levels deep. No
memory is needed for it; but as the key of a dict it is hashed leaf by leaf, which never ends.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from condcli.errors import InputError

MOST_LEAVES = 10**7  # in a tuple: keys and arguments have a handful
LEGACY_PARTS = 5  # pickles one after the other: magic number, version, system, data, storages


def check_tuples(path: Path, file: IO[bytes]) -> None:
    """Raises InputError where a tuple in a torch.save file has more leaves than can be hashed.

    Damage is left for others to find. The file, the open one at `path`, is left at its beginning.
    """
    with suppress(zipfile.BadZipFile, OSError, RuntimeError), pickles(file) as parts:
        if any(_most_leaves(each) > MOST_LEAVES for each in parts):
            raise InputError(
                f"{path} holds tuples within tuples of more than {MOST_LEAVES:,} parts",
                "take the file from where you trust its origin",
            )
    file.seek(0)


@contextmanager
def pickles(file: IO[bytes]) -> Iterator[Iterator[IO[bytes]]]:
    """The pickles of a torch.save file, each to be read to its end before the next."""
    file.seek(0)
    if not zipfile.is_zipfile(file):
        file.seek(0)
        yield (file for _ in range(LEGACY_PARTS))
        return
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith(".pkl")]
        yield map(archive.open, names)


def _most_leaves(pickled: IO[bytes]) -> int:
    """The leaves of the largest tuple in a pickle, those of shared parts counted each time."""
    most = 0
    stack: list[int] = []  # how many leaves each value has; all but tuples count as one
    marks: list[int] = []
    memo: dict[object, int] = {}
    with suppress(IndexError, KeyError, ValueError, MemoryError):  # a pickle that is damaged
        for code, argument, _ in pickletools.genops(pickled):
            name = code.name
            if name == "MARK":
                marks.append(len(stack))
            elif name in _PUT:
                memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
            elif name in _GET:
                stack.append(memo[argument])
            elif name == "DUP":
                stack.append(stack[-1])
            else:
                taken = _taken(code, stack, marks)
                leaves = sum(taken) if name in _TUPLES else 1
                most = max(most, leaves)
                stack.extend(leaves for _ in code.stack_after)
    return most


_PUT = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}


def _taken(code: pickletools.OpcodeInfo, stack: list[int], marks: list[int]) -> list[int]:
    """What an instruction takes off the stack: so many values, or all down to the last mark."""
    kinds = [each.name for each in code.stack_before]
    start = marks.pop() - kinds.index("mark") if "mark" in kinds else len(stack) - len(kinds)
    taken = stack[start:]
    del stack[start:]
    return taken

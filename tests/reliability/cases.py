"""What a case is: files that are made, a command line, and the promised end.

A table is a module `bad_*.py` with a list CASES; test_bad_inputs.py runs every table that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability.nth_call import Fault

CANARY = "canary"  # the file in a case's folder that hidden code would make


@dataclass(frozen=True)
class Case:
    """A command line that must fail, and how.

    `build` makes the files in a new folder, where the command is run, and returns the words after
    `condcli`. `code` is the exit code, `words` a part of the one error line: the file's name, say.
    """

    name: str
    build: Callable[[Path], list[str]]
    code: int
    words: str
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)  # "FSIZE": bytes, as in `resource`
    inject: str = ""  # "module:function", called in the child before condcli starts
    fault: Fault | None = None  # a system call that fails on a file in the case's folder

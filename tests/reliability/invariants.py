"""What must hold after every case, whatever went wrong in it. The one helper for all tables."""

from __future__ import annotations

import os
import stat
from hashlib import blake2b
from pathlib import Path

from tests.reliability.cases import CANARY, Case
from tests.reliability.runner import Outcome, Runner

SECONDS = 20.0  # a case takes a fraction of one; this tells a hang on a slow machine
MEMORY = 1 << 30  # bytes above an idle process
LONGEST = 4000  # characters of an error line
DOCUMENTED = frozenset((0, 1, 2, 3, 4, 5, 129, 130, 143))  # docs/commands.md, but for 70: a bug
State = dict[str, tuple[object, ...]]


def fails_as_promised(runner: Runner, case: Case, folder: Path) -> Outcome:
    """Run a case in an empty folder, and assert every invariant; how it ended."""
    arguments = case.build(folder)
    before = state(folder)
    outcome = runner.run(
        arguments,
        folder,
        env=case.env,
        limits=case.limits,
        inject=case.inject,
        fault=case.fault,
        timeout=SECONDS,
    )
    assert outcome.struck == (case.fault is not None), "the fault did not happen"
    holds(outcome, code=case.code, words=case.words, folder=folder, before=before)
    return outcome


def holds(outcome: Outcome, *, code: int, words: str, folder: Path, before: State) -> None:
    """Assert all that is promised of a run that fails; `before` is the folder's state."""
    assert outcome.code == code, outcome
    says_one_line(outcome, words)
    leaves_nothing(outcome, folder, before)


def says_one_line(outcome: Outcome, words: str) -> None:
    """One error line with what is wrong and what to do, and nothing among the results."""
    assert outcome.out == ""
    assert outcome.err.startswith("condcli: error: "), outcome.err
    assert outcome.err.endswith("\n")
    assert outcome.err.count("\n") == 1, outcome.err
    assert len(outcome.err) <= LONGEST
    assert outcome.err[:-1].isprintable(), outcome.err
    assert words in outcome.err, outcome.err
    what, _, remedy = outcome.err.rpartition("; ")
    assert what, outcome.err
    assert remedy.strip(), outcome.err


def leaves_nothing(outcome: Outcome, folder: Path, before: State) -> None:
    """An end of its own in bounded time and memory; the folder as it was; no code run by a file."""
    assert not outcome.late, "it hung"
    assert outcome.code in DOCUMENTED, outcome
    assert outcome.peak_bytes <= MEMORY
    assert not outcome.children_left
    assert not (folder / CANARY).exists(), "code in a file was run"
    assert state(folder) == before  # output, inputs, leftovers


def state(folder: Path) -> State:
    """Everything below a folder: kind and mode, time of change, and content."""
    found: State = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(place, name)
            found[str(path.relative_to(folder))] = _entry(path)
    return found


def _entry(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    if stat.S_ISREG(status.st_mode):
        digest = blake2b(path.read_bytes(), digest_size=16).hexdigest()
        return status.st_mode, status.st_mtime_ns, digest
    if stat.S_ISLNK(status.st_mode):
        return status.st_mode, os.readlink(path)
    return (status.st_mode,)

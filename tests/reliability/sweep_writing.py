"""An output is absent, untouched or whole: on full disks, after kills, among other writers.

`python -m tests.reliability.sweep_writing` tries every 4 KiB of disk, 200 kills and 20 writers at
once, and prints what it tried; test_writing_sweep.py tries a few of each.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np

from condcli.errors import CannotFinishError
from condcli.statsfile import read, schema, write
from tests.reliability.bad_options import PROBE, with_model
from tests.reliability.invariants import holds, state
from tests.reliability.runner import Outcome, Runner
from tests.synthetic import diagonal, layer, stats

COMMANDS = {
    "probe": f"{PROBE} -o out.h5 --force",
    "merge": "merge 1.h5 2.h5 -o out.h5 --force",
    "cache": "spectrum out.h5 --cache",
}
BLOCK = 4096
NAMED = "tests.reliability.sweep_writing:without_unnamed"  # called in the child
FULL = "out.h5: cannot be written (File too large); free some space"


def prepare(folder: Path, *, width: int) -> None:
    """What the commands read, with matrices of this width, and an older out.h5."""
    with_model(folder)
    moment = diagonal(*np.linspace(1, 2, width))
    layers = [layer(name, moment, moment, order=i) for i, name in enumerate(("fc1", "fc2"))]
    write(stats(*layers), folder / "out.h5")
    size = sum(item.parameters for item in layers)
    for number in (1, 2):
        parts = [
            layer(name, moment, moment, order=i, weight_grad=moment, first_place=number)
            for i, name in enumerate(("fc1", "fc2"))
        ]
        part = stats(*parts, shard=f"{number}/2", whole_examples=200, parameters=size)
        write(part, folder / f"{number}.h5")


def is_whole(path: Path) -> bool:
    """Whether everything in the file loads; InputError names what does not."""
    found = read(path)
    return all(part[name] for part in _sections(found) for name in part)


def _sections(found: object) -> Iterator[dict[str, object]]:
    return (getattr(found, section) for section in schema.SECTIONS)


def full_disk(runner: Runner, folder: Path, command: str, *, step: int = BLOCK) -> int:
    """Run the command with every size that a file may have, until it fits; how many there were."""
    old = (folder / "out.h5").read_bytes()
    size, tries = step, 0  # with none at all, stderr could not take the error either
    while True:
        before = state(folder)
        outcome = runner.run(COMMANDS[command].split(), folder, limits={"FSIZE": size})
        tries += 1
        if outcome.code == 0:
            break
        holds(outcome, code=5, words=FULL, folder=folder, before=before)
        size += step
    assert is_whole(folder / "out.h5")
    assert size >= (folder / "out.h5").stat().st_size - step
    (folder / "out.h5").write_bytes(old)
    return tries


def kills(
    runner: Runner, folder: Path, command: str, *, times: int, named: bool, seed: int = 0
) -> int:
    """Kill the command at random moments; in how many of them it was still running."""
    rng = random.Random(seed)
    arguments, inject = COMMANDS[command].split(), NAMED if named else ""
    old, others = (folder / "out.h5").read_bytes(), set(os.listdir(folder))
    usual, killed = runner.run(arguments, folder, inject=inject), 0
    assert usual.code == 0, usual
    for _ in range(times):
        (folder / "out.h5").write_bytes(old)
        moment = (rng.uniform(0, usual.seconds), signal.SIGKILL)
        outcome = runner.run(arguments, folder, inject=inject, signals=[moment])
        killed += _ended(outcome)
        assert (folder / "out.h5").read_bytes() == old or is_whole(folder / "out.h5")
        more = set(os.listdir(folder)) - others
        assert all(name.startswith(".condcli-") for name in more) if named else not more
    (folder / "out.h5").write_bytes(old)
    assert runner.run(arguments, folder).code == 0
    assert set(os.listdir(folder)) == others, "leftovers of kills stay"
    (folder / "out.h5").write_bytes(old)
    return killed


def _ended(outcome: Outcome) -> bool:
    """Whether it was killed; else it was done already."""
    assert outcome.code in (0, -signal.SIGKILL), outcome
    return outcome.code != 0


def without_unnamed() -> None:
    """Have the system know no files without a name."""
    module = import_module("condcli.statsfile.replacing")
    module.__dict__["_unnamed"] = lambda folder, name: None


def writers(folder: Path, *, count: int, force: bool, named: bool) -> None:
    """Let so many processes write one file at once: one wins, or with `force` each replaces."""
    path, start = folder / "shared.h5", time.monotonic() + 0.2
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            os._exit(_write_at(start, path, number, force=force, named=named))
        children.append(child)
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert codes == ([0] * count if force else [0] + [5] * (count - 1)), codes
    assert is_whole(path)
    assert [item.name for item in folder.iterdir()] == [path.name]
    path.unlink()


def _write_at(start: float, path: Path, number: int, *, force: bool, named: bool) -> int:
    if named:
        without_unnamed()
    moment = np.full((200, 200), float(number))
    time.sleep(max(0.0, start - time.monotonic()))
    try:
        write(stats(layer("fc", moment, moment), seed=number), path, force=force)
    except CannotFinishError as error:
        return 5 if "already exists" in str(error) else 1
    return 0


def main() -> None:
    """All of it, with a line for each kind; an AssertionError where a promise is broken."""
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as large:
        prepare(Path(small), width=64)
        prepare(Path(large), width=400)
        with Runner() as runner:
            sizes = sum(full_disk(runner, Path(small), command) for command in COMMANDS)
            print(f"full disk: {sizes} sizes in steps of {BLOCK} bytes, nothing lost")
            killed = sum(_all_kills(runner, Path(large)))
            print(f"kill -9: 200 moments, {killed} before the command was done, nothing lost")
    for force in (False, True):
        for named in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                for _ in range(5):
                    writers(Path(folder), count=20, force=force, named=named)
    print("two and more writers: 20 times 20 at once, one file whole each time")


def _all_kills(runner: Runner, folder: Path) -> Iterable[int]:
    """200 of them: each command, with and without files that have no name."""
    for number, command in enumerate(COMMANDS):
        for named, times in ((False, 34), (True, 33 if number < 2 else 32)):
            yield kills(runner, folder, command, times=times, named=named, seed=2 * number + named)


if __name__ == "__main__":
    main()

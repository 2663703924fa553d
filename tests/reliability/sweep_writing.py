"""An output is absent, untouched or whole: on full disks, after kills, among other writers.

`python -m tests.reliability.sweep_writing` tries every 4 KiB of disk, some hundred kills and 20
writers at once, and prints what it tried; test_writing_sweep.py tries a few of each.
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
    "csv": "export in.h5 --to csv -o out.csv --force",
    "npz": "export in.h5 --to npz -o out.npz --force",
    "parquet": "export in.h5 --to parquet -o out.parquet --force",
    "report": "report in.h5 -o out.html --force",
    "png": "plot depth in.h5 -o out.png --force",
    "svg": "plot depth in.h5 -o out.svg --force",
    "pdf": "plot depth in.h5 -o out.pdf --force",
}
STATISTICS = ("probe", "merge", "cache")  # what these write
_ENDINGS = {"report": "html"}
BLOCK = 4096
MOMENTS = 34  # of each command, twice
NAMED = "tests.reliability.sweep_writing:without_unnamed"  # called in the child
FULL = "cannot be written (File too large); free some space"


def output_of(command: str) -> str:
    """The name of the file that a command writes."""
    return "out.h5" if command in STATISTICS else f"out.{_ENDINGS.get(command, command)}"


def prepare(folder: Path, *, width: int) -> None:
    """What the commands read, with matrices of this width, and an older file of every output."""
    with_model(folder)
    moment = diagonal(*np.linspace(1, 2, width))
    layers = [layer(name, moment, moment, order=i) for i, name in enumerate(("fc1", "fc2"))]
    write(stats(*layers), folder / "out.h5")
    write(stats(*(layer(f"fc{i}", order=i) for i in range(20))), folder / "in.h5")
    for command in COMMANDS.keys() - {*STATISTICS}:
        (folder / output_of(command)).write_bytes(b"older")
    size = sum(item.parameters for item in layers)
    for number in (1, 2):
        parts = [
            layer(name, moment, moment, order=i, weight_grad=moment, first_place=number)
            for i, name in enumerate(("fc1", "fc2"))
        ]
        part = stats(*parts, shard=f"{number}/2", whole_examples=200, parameters=size)
        write(part, folder / f"{number}.h5")


def is_whole(path: Path, like: bytes | None = None) -> bool:
    """Whether everything in a statistics file loads; another output is ``like`` the usual one."""
    if like is not None:
        return path.read_bytes() == like
    found = read(path)
    return all(part[name] for part in _sections(found) for name in part)


def _sections(found: object) -> Iterator[dict[str, object]]:
    return (getattr(found, section) for section in schema.SECTIONS)


def usual(
    runner: Runner, folder: Path, command: str, inject: str = ""
) -> tuple[Outcome, bytes | None]:
    """How the command ends undisturbed, and what it writes, if that is the same each time.

    The older file is there again afterwards.
    """
    file = folder / output_of(command)
    old = file.read_bytes()
    outcome = runner.run(COMMANDS[command].split(), folder, inject=inject)
    assert outcome.code == 0, outcome
    like = None if command in STATISTICS else file.read_bytes()
    assert like != old
    file.write_bytes(old)
    return outcome, like


def full_disk(runner: Runner, folder: Path, command: str, *, step: int = BLOCK) -> int:
    """Run the command with every size that a file may have, until it fits; how many there were."""
    file = folder / output_of(command)
    old, like = file.read_bytes(), usual(runner, folder, command)[1]
    size, tries = step, 0  # with none at all, stderr could not take the error either
    while True:
        before = state(folder)
        outcome = runner.run(COMMANDS[command].split(), folder, limits={"FSIZE": size})
        tries += 1
        if outcome.code == 0:
            break
        words = f"{file.name}: {FULL}"
        holds(outcome, code=5, words=words, folder=folder, before=before)
        size += step
    assert is_whole(file, like)
    assert size >= file.stat().st_size - step
    file.write_bytes(old)
    return tries


def kills(
    runner: Runner, folder: Path, command: str, *, times: int, named: bool, seed: int = 0
) -> int:
    """Kill the command at random moments; in how many of them it was still running."""
    rng, file = random.Random(seed), folder / output_of(command)
    arguments, inject = COMMANDS[command].split(), NAMED if named else ""
    old, others, killed = file.read_bytes(), set(os.listdir(folder)), 0
    undisturbed, like = usual(runner, folder, command, inject)
    for _ in range(times):
        file.write_bytes(old)
        moment = (rng.uniform(0, undisturbed.seconds), signal.SIGKILL)
        outcome = runner.run(arguments, folder, inject=inject, signals=[moment])
        killed += _ended(outcome)
        assert file.read_bytes() == old or is_whole(file, like)
        more = set(os.listdir(folder)) - others
        assert all(name.startswith(".condcli-") for name in more) if named else not more
    file.write_bytes(old)
    assert runner.run(arguments, folder).code == 0
    assert set(os.listdir(folder)) == others, "leftovers of kills stay"
    file.write_bytes(old)
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
            told = f"{sizes} sizes in steps of {BLOCK} bytes, {len(COMMANDS)} commands"
            print(f"full disk: {told}, nothing lost")
            killed = sum(_all_kills(runner, Path(large)))
            moments = MOMENTS * 2 * len(COMMANDS)
            print(f"kill -9: {moments} moments, {killed} before the command was done, nothing lost")
    for force in (False, True):
        for named in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                for _ in range(5):
                    writers(Path(folder), count=20, force=force, named=named)
    print("two and more writers: 20 times 20 at once, one file whole each time")


def _all_kills(runner: Runner, folder: Path) -> Iterable[int]:
    """Each command, with and without files that have no name."""
    for number, command in enumerate(COMMANDS):
        for named in (False, True):
            seed = 2 * number + named
            yield kills(runner, folder, command, times=MOMENTS, named=named, seed=seed)


if __name__ == "__main__":
    main()

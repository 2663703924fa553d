"""The short form of sweep_writing.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.runner import Runner
from tests.reliability.sweep_writing import (
    COMMANDS,
    full_disk,
    kills,
    prepare,
    usual,
    writers,
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_leaves_the_old_file(runner: Runner, tmp_path: Path, command: str) -> None:
    prepare(tmp_path, width=40)
    like = usual(runner, tmp_path, command)[1]
    assert full_disk(runner, tmp_path, command, step=len(like) // 3 if like else 2**13) > 2


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("named", [False, True])
def test_a_kill_leaves_the_old_file_or_the_new_one(
    runner: Runner, tmp_path: Path, command: str, named: bool
) -> None:
    prepare(tmp_path, width=40)
    kills(runner, tmp_path, command, times=3, named=named)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_of_many_writers_one_wins(tmp_path: Path, force: bool, named: bool) -> None:
    writers(tmp_path, count=6, force=force, named=named)

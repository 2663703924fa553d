"""A file is put in place whole or not at all, on file systems of each kind."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from condcli.errors import CannotFinishError
from condcli.statsfile.replacing import check_writable, replacing

MODULE = import_module("condcli.statsfile.replacing")
KINDS = ["unnamed", "unnamed for ever", "named", "no hard links"]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Path:
    """An empty folder on a file system of this kind."""
    original = os.link

    def link(source: Any, target: Path, **options: Any) -> None:
        if not isinstance(source, Path):
            raise PermissionError(1, "Operation not permitted")
        original(source, target, **options)

    if request.param == "unnamed for ever":
        monkeypatch.setattr(os, "link", link)
    if request.param in ("named", "no hard links"):
        monkeypatch.setattr(MODULE, "_unnamed", lambda folder, name: None)
    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", _raise(PermissionError(1, "Operation not permitted")))
    return tmp_path


def _raise(error: BaseException) -> Callable[..., Any]:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise error

    return fail


def put(
    path: Path,
    content: bytes,
    *,
    force: bool = False,
    meanwhile: Callable[[], Any] = lambda: None,
    **options: Any,
) -> None:
    with replacing(path, force=force, **options) as file:
        file.write(content)
        meanwhile()


def test_the_file_appears_whole_when_the_block_ends(folder: Path) -> None:
    path = folder / "x"
    with replacing(path, force=False) as file:
        file.write(b"all of it")
        file.flush()
        assert not path.exists()
        file.seek(0)
        assert file.read() == b"all of it"
    assert path.read_bytes() == b"all of it"
    assert list(folder.iterdir()) == [path]


def test_with_force_the_old_file_stands_until_the_new_one_does(folder: Path) -> None:
    path = folder / "x"
    path.write_text("old")
    with replacing(path, force=True) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(folder.iterdir()) == [path]


def test_what_came_there_meanwhile_stays_without_force(folder: Path) -> None:
    path = folder / "x"
    with pytest.raises(CannotFinishError, match="already exists; pass --force"):
        put(path, b"mine", meanwhile=lambda: path.write_text("another's"))
    assert path.read_text() == "another's"
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError(), OSError(28, "No space left")])
def test_an_exception_leaves_what_was_there(
    folder: Path, force: bool, error: BaseException
) -> None:
    path = folder / "x"
    if force:
        path.write_text("old")
    with pytest.raises((KeyboardInterrupt, ValueError, CannotFinishError)):
        put(path, b"half", force=force, meanwhile=_raise(error))
    assert [item.read_text() for item in folder.iterdir()] == ["old"] * force


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_system_call_that_fails_is_told_with_the_remedy(
    folder: Path, monkeypatch: Any, call: str
) -> None:
    (folder / "x").write_text("old")
    monkeypatch.setattr(os, call, _raise(OSError(5, "Input/output error")))
    told = r"x: cannot be written \(Input/output error\); pray"
    with pytest.raises(CannotFinishError, match=told):
        put(folder / "x", b"new", force=True, remedy="pray")
    assert [item.read_text() for item in folder.iterdir()] == ["old"]


def test_a_folder_that_is_not_readable_will_do(folder: Path, monkeypatch: Any) -> None:
    opened, synced = os.open, []

    def guarded(path: Any, flags: int, *more: Any) -> int:
        if flags == os.O_RDONLY:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", guarded)
    monkeypatch.setattr(os, "scandir", _raise(PermissionError(13, "Permission denied")))
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    put(folder / "x", b"new")
    assert (folder / "x").read_bytes() == b"new"
    assert synced


def test_a_folder_that_cannot_be_synced_is_no_error(folder: Path, monkeypatch: Any) -> None:
    original = os.fsync

    def guarded(descriptor: int) -> None:
        if os.path.isdir(f"/dev/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", guarded)
    put(folder / "x", b"new")
    assert (folder / "x").read_bytes() == b"new"


def test_leftovers_are_removed_but_nothing_else(folder: Path) -> None:
    leftover = folder / ".condcli-0123456789ab.tmp"
    leftover.touch()
    used = folder / ".condcli-ba9876543210.tmp"
    alike = folder / ".condcli-mine.tmp"
    alike.touch()
    with open(used, "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        put(folder / "x", b"new")
    assert set(folder.iterdir()) == {used, alike, folder / "x"}


def test_a_system_without_locks_does_without(folder: Path, monkeypatch: Any) -> None:
    """Then nobody knows whether a leftover is still being written."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    leftover = folder / ".condcli-0123456789ab.tmp"
    leftover.touch()
    put(folder / "x", b"new")
    assert (folder / "x").read_bytes() == b"new"
    assert set(folder.iterdir()) == {leftover, folder / "x"}


@pytest.mark.parametrize("force", [False, True])
def test_a_kill_leaves_nothing_or_what_the_next_writer_removes(folder: Path, force: bool) -> None:
    path = folder / "x"
    child = os.fork()
    if child == 0:
        put(path, b"half", force=force, meanwhile=lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert not path.exists()
    put(path, b"whole", force=force)
    assert list(folder.iterdir()) == [path]


def test_the_file_gets_the_usual_permissions_or_those_asked_for(folder: Path) -> None:
    put(folder / "usual", b"")
    (folder / "other").touch()
    assert (folder / "usual").stat().st_mode == (folder / "other").stat().st_mode
    with replacing(folder / "asked", force=False, mode=0o640):
        pass
    assert (folder / "asked").stat().st_mode & 0o777 == 0o640


def test_a_folder_is_tried_without_a_trace(folder: Path) -> None:
    check_writable(folder)
    assert list(folder.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        check_writable(folder / "none")

"""Free memory is what the nearest limit leaves."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condcli import machine
from condcli.errors import CannotFinishError
from condcli.machine import GIB, MIB, Budget, free_memory, require, require_to_start

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A root folder with these files; 8 GiB are free unless told."""

    def plant(files: dict[str, str] | None = None) -> Path:
        usual = {
            "proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {8 * GIB // 1024} kB\n",
            "proc/self/status": "Name: x\nVmSize: 1024 kB\nVmData: 512 kB\n",
        }
        for name, text in (usual | (files or {})).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return plant


def second(folder: str, limit: int | str, used: int, inactive: int = 0) -> dict[str, str]:
    place = f"sys/fs/cgroup{folder}"
    return {
        f"{place}/memory.max": f"{limit}\n",
        f"{place}/memory.current": f"{used}\n",
        f"{place}/memory.stat": f"anon 5\ninactive_file {inactive}\nactive_file 7\n",
    }


def first(folder: str, limit: int, used: int, inactive: int = 0) -> dict[str, str]:
    place = f"sys/fs/cgroup/memory{folder}"
    return {
        f"{place}/memory.limit_in_bytes": f"{limit}\n",
        f"{place}/memory.usage_in_bytes": f"{used}\n",
        f"{place}/memory.stat": f"inactive_file 1\ntotal_inactive_file {inactive}\n",
    }


def test_without_limits_it_is_the_machines(tree: Tree) -> None:
    assert free_memory(tree()) == Budget(8 * GIB, "the machine")


def test_where_nothing_is_known_there_is_no_number(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None


@pytest.mark.parametrize(
    ("limits", "free"),
    [
        (second("/job/step", 2 * GIB, GIB, 512 * MIB), 1.5 * GIB),
        (second("/job", 2 * GIB, GIB) | second("/job/step", "max", 5), GIB),
        (second("/job", 3 * GIB, 0) | second("/job/step", 2 * GIB, 0), 2 * GIB),
        (second("", GIB, 0), GIB),  # in a container the mount alone is seen
        (second("/job/step", GIB, 2 * GIB), 0),
    ],
)
def test_cgroups_of_version_2_count_up_to_the_root(
    tree: Tree, limits: dict[str, str], free: float
) -> None:
    root = tree({"proc/self/cgroup": "0::/job/step\n"} | limits)
    assert free_memory(root) == Budget(int(free), "the cgroup")


@pytest.mark.parametrize(
    ("limits", "free"),
    [
        (first("/job", 2 * GIB, GIB, 512 * MIB), 1.5 * GIB),
        (first("", 2 * GIB, GIB) | first("/job", 2**63 - 4096, 5), GIB),
    ],
)
def test_so_do_those_of_version_1(tree: Tree, limits: dict[str, str], free: float) -> None:
    root = tree({"proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/job\n0::/\n"} | limits)
    assert free_memory(root) == Budget(int(free), "the cgroup")


def test_no_limit_is_none(tree: Tree) -> None:
    files = {"proc/self/cgroup": "4:memory:/job\n0::/job\n"}
    root = tree(files | second("/job", "max", 5) | first("/job", 2**63 - 4096, 5))
    assert free_memory(root) == Budget(8 * GIB, "the machine")


@pytest.mark.parametrize("text", ["", "what\n", "4:memory\n", "0::/../../..\n", "\0\n"])
def test_a_file_of_another_form_tells_nothing(tree: Tree, text: str) -> None:
    root = tree({"proc/self/cgroup": text})
    assert free_memory(root) == Budget(8 * GIB, "the machine")


@pytest.mark.parametrize(("limit", "used"), [("RLIMIT_AS", 1024), ("RLIMIT_DATA", 512)])
def test_limits_of_the_process_count(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, limit: str, used: int
) -> None:
    def limits(which: int) -> tuple[int, int]:
        set_here = which == getattr(resource, limit)
        return (GIB if set_here else resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    monkeypatch.setattr(resource, "getrlimit", limits)
    assert free_memory(tree()) == Budget(GIB - 1024 * used, limit)


@pytest.fixture(autouse=True)
def no_torch_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def test_what_does_not_fit_is_refused_with_numbers(monkeypatch: Any) -> None:
    monkeypatch.setattr(machine, "_budgets", lambda root: [Budget(300 * MIB, "the cgroup")])
    require(299 * MIB, "the file", "none")
    message = r"the file needs about 1.5 GiB, and 300 MiB are free within the cgroup; split it"
    with pytest.raises(CannotFinishError, match=message):
        require(1.5 * GIB, "the file", "split it")
    with pytest.raises(CannotFinishError, match="to start torch: 300 MiB are free within the cgro"):
        require_to_start()


@pytest.mark.parametrize(
    ("begin", "fits"),
    [("pass", True), ("raise SystemExit(1)", False), ("import time; time.sleep(30)", False)],
)
def test_a_tight_address_space_is_tried(monkeypatch: Any, begin: str, fits: bool) -> None:
    monkeypatch.setattr(machine, "_budgets", lambda root: [Budget(2 * GIB, "RLIMIT_AS")])
    monkeypatch.setattr(machine, "_START", begin)
    monkeypatch.setattr(machine, "_PATIENCE", 20.0 if fits else 2.0)
    if fits:
        return require_to_start()
    with pytest.raises(CannotFinishError, match="to start torch: 2 GiB are free within RLIMIT_AS"):
        require_to_start()

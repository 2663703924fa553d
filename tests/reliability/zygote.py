"""The process that runs the cases: it has imported torch and condcli, and forks a child a case.

A child is a real process, with the exit status, signals and limits of `python -m condcli`; only the
seconds of importing torch and of freeing it again are saved. `runner.py` talks to it, a line of
JSON each way.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import h5py
import torch

from condcli.cli import run
from tests.reliability.nth_call import arm

_TICK = 0.002  # seconds between looks at a child, where the system does not tell of its end
_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
_SAMPLE = Path(__file__).parents[2] / "sample_checkpoints" / "mlp5_he.pt"
_USUAL = (
    f"probe {_SAMPLE} --data digits --samples 20",
    f"inspect {_SAMPLE}",
    "spectrum nowhere.h5",
)


def serve() -> None:
    """Answer each request on stdin with how its child ended."""
    _preload()
    reply(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            become(request)
        reply(**watched(child, request))
    os._exit(0)


def reply(**answer: Any) -> None:
    """One line for the runner."""
    os.write(1, json.dumps(answer).encode() + b"\n")


def become(request: dict[str, Any]) -> None:
    """Turn this process into `condcli ARGUMENTS` in its folder, environment and limits."""
    os.setsid()
    for number, (path, flags) in enumerate(request["streams"]):
        os.dup2(os.open(path, flags), number)
    os.chdir(request["folder"])
    for name, value in request["env"].items():
        os.environ[name] = value
    _drop_the_powers_of_root()
    if request["inject"]:
        module, _, function = request["inject"].partition(":")
        getattr(importlib.import_module(module), function)()
    for name, limit in request["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
    sys.argv = ["condcli", *request["arguments"]]
    if request["fault"]:
        arm(**request["fault"])
    try:
        runpy.run_module("condcli", run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        leave(int(leaving.code or 0))
    except BaseException:
        traceback.print_exc()
    leave(1)


def leave(code: int) -> NoReturn:
    """End as the interpreter does, but for freeing torch and its libraries: half a second.

    What can go wrong there is done: threads are waited for, stdout is flushed, HDF5 is closed.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    try:
        sys.stdout.flush()
    except OSError:
        code = 120
    ctypes.CDLL(h5py.h5.__file__).H5close()
    os._exit(code)


def watched(child: int, request: dict[str, Any]) -> dict[str, Any]:
    """Wait for the child, sending it the signals of the request, SIGKILL when its time is over."""
    start = time.monotonic()
    pending = [*map(tuple, request["signals"]), (request["timeout"], signal.SIGKILL)]
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        seconds = time.monotonic() - start
        if ended:
            break
        if pending and seconds >= pending[0][0]:
            os.kill(child, pending.pop(0)[1])
        _wait(child, pending[0][0] - seconds if pending else None)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "peak_bytes": max(0, usage.ru_maxrss - own) * _MEMORY_UNIT,
        "late": seconds >= request["timeout"],
        "children_left": _group_lives(child),
    }


def _wait(child: int, seconds: float | None) -> None:
    """Until the child has ended, so many seconds at most."""
    if not hasattr(os, "pidfd_open"):
        time.sleep(_TICK)
        return
    descriptor = os.pidfd_open(child)
    select.select([descriptor], [], [], None if seconds is None else max(0.0, seconds))
    os.close(descriptor)


def _group_lives(leader: int) -> bool:
    """Whether a process of the child's session is left; then it is ended."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
        return True
    return False


def _drop_the_powers_of_root() -> None:
    """Let file modes count, as they do for anyone else."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    for place in (0, 1):  # effective and permitted
        sets[place] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc.capset(header, sets)


def _preload() -> None:
    """Import what commands import, now or when they run."""
    torch.set_num_threads(1)
    for line in _USUAL:
        for name in _modules_of(line.split()):
            with suppress(Exception):  # some are there under a name of their own
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page


def _modules_of(arguments: list[str]) -> list[str]:
    """The modules that a command loads, found out in a child: no state of it shall stay here."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            run(arguments)
        with open(write_end, "w") as names:
            names.write("\n".join(sys.modules))
        os._exit(0)
    os.close(write_end)
    with open(read_end) as names:
        found = names.read().split("\n")
    os.wait()
    return found


if __name__ == "__main__":
    serve()

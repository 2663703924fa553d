"""Runs condcli in children of the zygote, and tells how each ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.reliability.nth_call import Fault, built

ROOT = Path(__file__).parents[2]
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "COLUMNS": "80", "NO_COLOR": "1", "PYTHONUTF8": "1"}


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `code` is negative where a signal ended it."""

    code: int
    out: str
    err: str
    seconds: float
    peak_bytes: int  # above what the zygote had before
    late: bool  # killed, its time being over
    children_left: bool
    struck: bool  # the fault happened


class Runner:
    """A zygote and the streams of its children; to be used in a `with`."""

    def __init__(self) -> None:
        self._streams = tempfile.TemporaryDirectory()
        self.library = built(Path(self._streams.name))  # None: no system call can be made to fail
        preload = {"LD_PRELOAD": str(self.library)} if self.library else {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.zygote"],
            cwd=ROOT,
            env={**os.environ, **_ENVIRONMENT, **preload, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == {"ready": True}

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._streams.cleanup()

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
        inject: str = "",
        fault: Fault | None = None,
        signals: Sequence[tuple[float, int]] = (),
        stdout: str | None = None,
        timeout: float = 30,
    ) -> Outcome:
        """Run `condcli ARGUMENTS` in the folder.

        `env` adds to the environment; `limits` are those of `resource`, without RLIMIT_; `inject`,
        "module:function", is called in the child first; `fault` lets a system call fail on a file
        of the folder, unless it names another; `signals` are sent after so many seconds; `stdout`
        is a file to use in place of a regular one, such as /dev/full.
        """
        out, err = Path(self._streams.name, "out"), Path(self._streams.name, "err")
        marker = Path(self._streams.name, "struck")
        marker.unlink(missing_ok=True)
        fresh = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._ask(
            arguments=list(arguments),
            folder=str(folder),
            env=dict(env or {}),
            limits=dict(limits or {}),
            inject=inject,
            fault=fault and {"path": f"{folder}/", **_given(fault), "marker": str(marker)},
            signals=sorted(signals),
            streams=[
                (os.devnull, os.O_RDONLY),
                (stdout, os.O_WRONLY) if stdout else (str(out), fresh),
                (str(err), fresh),
            ],
            timeout=timeout,
        )
        ended = self._answer()
        return Outcome(
            out="" if stdout else _text(out), err=_text(err), struck=marker.exists(), **ended
        )

    def _ask(self, **request: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def _given(fault: Fault) -> dict[str, Any]:
    return {name: value for name, value in asdict(fault).items() if value != ""}


def _text(file: Path) -> str:
    return file.read_bytes().decode(errors="replace")

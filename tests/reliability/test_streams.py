"""Only results come from stdout, and nothing is drawn where nobody looks."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from condcli.output.progress import examples_progress
from condcli.output.terminal import on_terminal
from tests.reliability.bad_options import PROBE, with_model
from tests.reliability.runner import Runner

NETWORK = """
import ctypes, os, subprocess
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 4), nn.Linear(4, 10)

    def forward(self, x):
        os.write(1, b"to the descriptor\\n")
        ctypes.CDLL(None).puts(b"by C")
        subprocess.run(["echo", "from a child"], check=True)
        os.chdir("/")
        return self.fc2(self.fc1(x.flatten(1)).relu())
"""


def test_what_code_writes_below_python_is_not_among_the_results(
    runner: Runner, tmp_path: Path
) -> None:
    with_model(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    done = runner.run([*PROBE.split(), "--arch", "net.py:Net", "-o", "s.h5"], tmp_path)
    assert done.code == 0, done
    assert done.out.startswith("╭")
    for text in ("to the descriptor", "by C", "from a child"):
        assert text not in done.out
    assert "to the descriptor" in done.err
    assert "from a child" in done.err
    assert (tmp_path / "s.h5").is_file()  # where it was to be, though the network left the folder


@pytest.mark.parametrize("force", [{"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_no_bar_is_drawn_into_a_log(force: dict[str, str], monkeypatch: Any, capsys: Any) -> None:
    for name, value in force.items():
        monkeypatch.setenv(name, value)
    with examples_progress("probing") as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("kind", "drawn"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_a_bar_needs_a_terminal_that_can_draw_it(kind: str, drawn: bool, monkeypatch: Any) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", kind)
    assert on_terminal() is drawn


def test_no_stderr_is_no_terminal(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert not on_terminal()
    with examples_progress("probing") as progress:
        progress(1, 2)

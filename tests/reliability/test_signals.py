"""Ctrl-C, SIGTERM and SIGHUP at any moment: their own exit code, and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from condcli.statsfile import write
from tests.synthetic import layer, stats

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_checkpoints" / "mlp5_he.pt"
# Tells, by closing stdin, that Python itself is up: before that condcli has no say.
BEGIN = "import os; from condcli.entry import main; os.close(0); main()"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupted(folder: Path, number: int, after: float, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that gets the signal so many seconds from begin."""
    up, told = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=told,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(told)
        os.read(up, 1)  # ends when the child closes its end
        os.close(up)
        time.sleep(after)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def ends_as_promised(ended: tuple[int, str, str], number: int) -> None:
    code, _, err = ended
    if code == 0:  # it was done before
        assert err.startswith("condcli: ") or err == ""
        return
    assert code == 128 + number, ended
    assert err == ("condcli: interrupted\n" if number == signal.SIGINT else ""), ended


@pytest.mark.parametrize("moment", range(12))
def test_a_signal_while_a_command_starts_reads_or_ends(moment: int, tmp_path: Path) -> None:
    write(stats(layer("fc1"), layer("fc2", order=1)), tmp_path / "stats.h5")
    number = SIGNALS[moment % 3]
    ended = interrupted(tmp_path, number, 0.01 + 0.035 * moment, "neurons", "stats.h5")
    ends_as_promised(ended, number)


@pytest.mark.parametrize("moment", range(6))
def test_a_signal_while_torch_is_imported(moment: int, tmp_path: Path) -> None:
    number = SIGNALS[moment % 3]
    ended = interrupted(
        tmp_path, number, 0.3 * (1 + moment), "probe", str(SAMPLE), "--data", "digits"
    )
    ends_as_promised(ended, number)
    assert [path.name for path in tmp_path.iterdir()] == (["stats.h5"] if ended[0] == 0 else [])


def test_a_signal_that_the_caller_ignores_stays_ignored(tmp_path: Path) -> None:
    write(stats(layer("fc1")), tmp_path / "stats.h5")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; children inherit it
    try:
        code, out, _ = interrupted(tmp_path, signal.SIGHUP, 0.05, "neurons", "stats.h5")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert code == 0
    assert out

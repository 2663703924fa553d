"""What all tests share: processes, usual signals, a plain terminal, a canary, golden files.

A golden file is what is printed, under review, and renewed with ``--update-golden``. Of
numbers with all their digits, the last are LAPACK's, and differ from processor to processor.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

# A shell lets what it starts in the background ignore these, and children inherit that.
for number, usual in {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGTERM: signal.SIG_DFL,
}.items():
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)

NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")
ROUNDING = 1e-9

MOST_PROCESSES = 8  # each imports torch, and starts another process that does


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process a processor for the whole suite; none more for chosen tests, to begin at once."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    processes = min(processors or 1, MOST_PROCESSES)
    os.environ.setdefault("OMP_NUM_THREADS", str((processors or 1) // processes))
    return processes if processes > 1 else 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with golden/NAME beside the test, or write it there."""

    def compare(name: str, text: str) -> None:
        path = Path(request.path).parent / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        reviewed = path.read_text(encoding="utf-8")
        assert NUMBER.sub("#", text) == NUMBER.sub("#", reviewed)
        found, wanted = (list(map(float, NUMBER.findall(each))) for each in (text, reviewed))
        assert found == pytest.approx(wanted, rel=ROUNDING)

    return compare


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that a Canary touches."""
    return tmp_path / "canary"


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colours and 80 columns, whatever terminal the tests run in."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

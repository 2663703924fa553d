"""Probes that are killed, and probes that are asked to end, go on to the same file."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import pytest

from condcli.capture.saving import read_state
from tests.reliability.invariants import says_one_line
from tests.reliability.resuming import Bench, bench
from tests.reliability.runner import Runner

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(scope="module")
def probes(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench(runner, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
def test_a_killed_probe_ends_the_same(batch: int, probes: Bench, tmp_path: Path) -> None:
    folder = probes.folder(tmp_path / "run")
    assert probes.ended(folder, batch, signal.SIGKILL).code == -signal.SIGKILL
    assert not (folder / "out.h5").exists()
    assert (folder / "out.h5.state").exists() == (batch > 1)
    probes.ends_the_same(folder)


def test_a_kill_while_saving_leaves_the_state_before(probes: Bench, tmp_path: Path) -> None:
    folder = probes.folder(tmp_path / "run")
    kill = "tests.reliability.faults_runs:kill_while_saving"
    assert probes.probe(folder, inject=kill).code == -signal.SIGKILL
    assert read_state(folder / "out.h5.state").done == 2
    probes.ends_the_same(folder)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_lets_the_batch_end_and_tells_how_to_go_on(
    number: signal.Signals, probes: Bench, tmp_path: Path
) -> None:
    folder = probes.folder(tmp_path / "run")
    outcome = probes.ended(folder, 4, number)
    assert outcome.code == CODES[number], outcome
    assert outcome.out == ""
    told = "condcli: interrupted after 32 of 64 examples; go on with: condcli "
    line = outcome.err.removesuffix("\n")
    assert line.startswith(f"{told}probe --resume model.pt --arch")
    assert "\n" not in line
    again = probes.runner.run(shlex.split(line.removeprefix(told)), folder)
    assert again.code == 0, again
    probes.ends_the_same(folder)


def test_a_second_signal_leaves_at_once(probes: Bench, tmp_path: Path) -> None:
    """In the midst of a batch."""
    folder = probes.folder(tmp_path / "run")
    outcome = probes.ended(folder, 4, signal.SIGTERM, signal.SIGINT)
    assert outcome.code == 130
    assert outcome.err == "condcli: interrupted\n"
    assert read_state(folder / "out.h5.state").done == 3
    probes.ends_the_same(folder)


def test_what_was_ignored_stays_ignored(probes: Bench, tmp_path: Path) -> None:
    """As nohup has it."""
    folder = probes.folder(tmp_path / "run")
    ignored = "tests.reliability.faults_runs:ignore_hang_up"
    assert probes.ended(folder, 4, signal.SIGHUP, inject=ignored).code == 0
    probes.ends_the_same(folder)


@pytest.fixture
def stopped(probes: Bench, tmp_path: Path) -> Path:
    """A folder with a probe that was ended in the middle."""
    folder = probes.folder(tmp_path / "stopped")
    assert probes.ended(folder, 4, signal.SIGINT).code == 130
    return folder


def refused(probes: Bench, folder: Path, code: int, words: str, *more: str, **how: object) -> None:
    state = (folder / "out.h5.state").read_bytes()
    outcome = probes.probe(folder, *more, **how)
    assert outcome.code == code, outcome
    says_one_line(outcome, words)
    assert (folder / "out.h5.state").read_bytes() == state
    assert not (folder / "out.h5").exists()


def test_a_difference_is_refused_and_named(probes: Bench, stopped: Path) -> None:
    def differs(words: str, *more: str, **how: object) -> None:
        refused(probes, stopped, 3, words, "--resume", *more, **how)

    refused(probes, stopped, 5, "out.h5.state: holds an interrupted probe; pass --resume")
    differs("was saved with norm batch, and now it is running;", "--norm", "running")
    differs("was saved with loss cross-entropy, and now it is mse;", "--loss", "mse")
    two = "tests.reliability.faults_runs:two_threads"
    differs("was saved with threads 1, and now it is 2;", inject=two)
    kept = {name: (stopped / name).read_text() for name in ("net.py", "data.py")}
    (stopped / "net.py").write_text(kept["net.py"] + "\n# changed")
    differs("was saved with the code of net.py ")
    (stopped / "net.py").write_text(kept["net.py"])
    (stopped / "data.py").write_text(kept["data.py"].replace("rng(0)", "rng(1)"))
    differs("was saved with the code of data.py ")
    (stopped / "data.py").write_text(kept["data.py"])
    probes.ends_the_same(stopped)


def test_force_begins_anew(probes: Bench, stopped: Path) -> None:
    outcome = probes.probe(stopped, "--force", "--norm", "running")
    assert outcome.code == 0, outcome
    assert not (stopped / "out.h5.state").exists()


def test_there_may_be_nothing_to_resume(probes: Bench, tmp_path: Path) -> None:
    folder = probes.folder(tmp_path / "run")
    outcome = probes.probe(folder, "--resume")
    assert outcome.code == 0
    assert "note: there is no state to go on from; the probe begins anew\n" in outcome.err


def test_a_state_stays_where_the_output_cannot_be_written(probes: Bench, stopped: Path) -> None:
    outcome = probes.probe(
        stopped, "--resume", inject="tests.reliability.faults_runs:no_room_for_the_output"
    )
    assert outcome.code == 5
    says_one_line(outcome, "then go on with --resume: out.h5.state is kept")
    probes.ends_the_same(stopped)

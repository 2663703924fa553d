"""Whatever fails while a command runs, it ends as promised."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from condcli.statsfile import read
from tests.reliability.bad_options import with_model, with_stats
from tests.reliability.cases import Case
from tests.reliability.faults import FAULTS, OWN, network
from tests.reliability.invariants import fails_as_promised, leaves_nothing, says_one_line, state
from tests.reliability.runner import Runner

MODULE = "tests.reliability.faults"


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
def test_a_fault_ends_as_promised(case: Case, runner: Runner, tmp_path: Path) -> None:
    if case.fault and runner.library is None:
        pytest.skip("no C compiler, or no LD_PRELOAD")
    fails_as_promised(runner, case, tmp_path)


@pytest.mark.parametrize(
    ("signal", "code", "said"),
    [("interrupted", 130, "condcli: interrupted\n"), ("terminated", 143, "")],
)
@pytest.mark.parametrize("command", ["spectrum stats.h5", "domination stats.h5"])
def test_a_signal_leaves_nothing(
    signal: str, code: int, said: str, command: str, runner: Runner, tmp_path: Path
) -> None:
    with_stats(tmp_path)
    before = state(tmp_path)
    outcome = runner.run(command.split(), tmp_path, inject=f"{MODULE}:{signal}")
    assert (outcome.code, outcome.out, outcome.err) == (code, "", said)
    leaves_nothing(outcome, tmp_path, before)


@pytest.mark.parametrize("command", ["spectrum stats.h5", "inspect model.pt", "arch list"])
def test_a_full_disk_under_the_results_is_an_error(
    command: str, runner: Runner, tmp_path: Path
) -> None:
    with_stats(tmp_path)
    with_model(tmp_path)
    before = state(tmp_path)
    outcome = runner.run(command.split(), tmp_path, stdout="/dev/full")
    assert outcome.code == 5
    says_one_line(outcome, "No space left on device")
    leaves_nothing(outcome, tmp_path, before)


def test_a_reader_that_has_gone_is_no_error(runner: Runner, tmp_path: Path) -> None:
    with_stats(tmp_path)
    before = state(tmp_path)
    os.mkfifo(tmp_path.parent / "pipe")
    reader = os.open(tmp_path.parent / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    outcome = runner.run(
        ["spectrum", "stats.h5"],
        tmp_path,
        stdout=str(tmp_path.parent / "pipe"),
    )
    os.close(reader)
    assert (outcome.code, outcome.err) == (0, "")
    leaves_nothing(outcome, tmp_path, before)


def test_an_output_that_appears_meanwhile_is_kept(runner: Runner, tmp_path: Path) -> None:
    network("pathlib.Path('stats.h5').write_text('of another')")(tmp_path)
    outcome = runner.run(OWN.split(), tmp_path)
    assert outcome.code == 5
    says_one_line(outcome, "stats.h5: already exists")
    assert (tmp_path / "stats.h5").read_text() == "of another"
    assert sorted(os.listdir(tmp_path)) == ["net.py", "stats.h5", "weights.pt"]


def test_an_output_folder_that_goes_away_is_an_error(runner: Runner, tmp_path: Path) -> None:
    network("shutil.rmtree('out', ignore_errors=True)")(tmp_path)
    (tmp_path / "out").mkdir()
    outcome = runner.run([*OWN.split(), "-o", "out/stats.h5"], tmp_path)
    assert outcome.code == 5
    says_one_line(outcome, "out/stats.h5: ")
    assert sorted(os.listdir(tmp_path)) == ["net.py", "weights.pt"]


@pytest.mark.parametrize(
    "line",
    [
        "print('among the results')",
        "os.write(1, b'among the results')",
        "os.system('echo among the results')",
        "torch.manual_seed(1)",
        "os.chdir('/')",
        "__import__('warnings').warn('odd')",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    ],
)
def test_odd_habits_of_a_network_change_nothing(line: str, runner: Runner, tmp_path: Path) -> None:
    network(line)(tmp_path)
    outcome = runner.run(OWN.split(), tmp_path)
    assert outcome.code == 0, outcome
    assert "among the results" not in outcome.out
    assert read(tmp_path / "stats.h5").provenance.examples == 256
    assert sorted(os.listdir(tmp_path)) == ["net.py", "stats.h5", "weights.pt"]

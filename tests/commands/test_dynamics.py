"""``condcli dynamics``: what it prints is under review in golden/, like the other commands'."""

from __future__ import annotations

import csv
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from condcli.cli import run
from condcli.output import terminal
from condcli.statsfile import write
from tests.commands.test_startup import HEAVY, loaded_by
from tests.runs import stats_at
from tests.synthetic import activation, layer, stats

STEPS = range(0, 800, 100)
NOTE = "condcli: note: steps are the checkpoints' own\n"
TURNS = "dynamics run --turning-points"
TABLES = {
    "dynamics-80.txt": (80, "dynamics run"),
    "dynamics-160.txt": (160, "dynamics run --layers fc*"),
    "dynamics-metric.txt": (80, "dynamics run --metric weight_norm --sort last"),
    "dynamics-dying.txt": (80, "dynamics run --metric dying"),
    "dynamics-turning-points.txt": (120, TURNS),
    "dynamics-steps.txt": (80, "dynamics run --steps --layers fc2"),
    "dynamics.md": (80, "dynamics run --format markdown"),
    "dynamics-turning-points.csv": (
        80,
        "dynamics run --turning-points --layers fc2 --format csv",
    ),
}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dynamics") / "run"
    folder.mkdir()
    for step in STEPS:
        write(stats_at(step), folder / f"step_{step:08}.h5")
    return folder


@pytest.fixture
def folder(whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in ./run."""
    shutil.copytree(whole_run, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "_quiet", False)
    return Path("run")


@pytest.mark.parametrize("name", TABLES)
def test_the_output_is_as_reviewed(
    name: str,
    folder: Path,
    golden: Callable[[str, str], None],
    monkeypatch: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns, command = TABLES[name]
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(command.split()) == 0
    printed = capsys.readouterr()
    golden(name, printed.out)
    assert printed.err == NOTE
    assert not name.endswith(".txt") or max(map(len, printed.out.splitlines())) <= columns


@pytest.mark.parametrize(
    "options",
    ["", "--metric loss", "--metric full", "--steps", "--steps --metric ratio", "--turning-points"],
)
def test_every_view_has_all_formats(
    options: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = []
    for form in ("json", "csv", "markdown"):
        assert run(["dynamics", "run", *options.split(), "--format", form]) == 0
        out = capsys.readouterr().out
        if form == "json":
            found = json.loads(out)
            assert (found["command"], found["file"]) == ("dynamics", "run")
            lengths.append(len(found["rows"]))
        elif form == "csv":
            lengths.append(len(list(csv.reader(StringIO(out)))) - 1)
        else:
            lengths.append(sum(line.startswith("| ") for line in out.splitlines()) - 1)
    assert lengths[0] > 0
    assert len(set(lengths)) == 1


def test_files_in_any_order_are_the_same_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = []
    for files in (["run"], sorted(map(str, folder.iterdir()), reverse=True)):
        assert run(["dynamics", *files, "--format", "csv"]) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("epoch_1.h5", "epoch_2.h5"), "steps are the last numbers in the files' names"),
        (("a.h5", "b.h5"), "steps are the files' places in the order given"),
    ],
)
def test_where_the_steps_come_from_is_said(
    names: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(terminal, "_quiet", False)
    for name in names:
        write(stats(layer()), tmp_path / name)
    assert run(["dynamics", str(tmp_path)]) == 0
    assert words in capsys.readouterr().err
    assert run(["--quiet", "dynamics", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""


def test_a_gate_looks_at_the_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dynamics", "run", "--fail-on", "ratio_last<1e-3"]) == 1
    assert "ratio_last<1e-3 holds for 1 of 2 rows: fc2" in capsys.readouterr().err
    assert run(["dynamics", "run", "--metric", "loss", "--fail-on", "change>1"]) == 0


def test_the_eigenvalues_can_be_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dynamics", "run"]) == 0
    before, sizes = capsys.readouterr().out, [file.stat().st_size for file in folder.iterdir()]
    assert run(["dynamics", "run", "--cache"]) == 0
    assert capsys.readouterr().out == before
    assert sum(file.stat().st_size for file in folder.iterdir()) > sum(sizes)
    assert run(["dynamics", "run"]) == 0
    assert capsys.readouterr().out == before


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        ("run --metric losses", 2, "there is no metric 'losses'; choose from loss, accuracy"),
        ("run --threshold 0", 2, "the threshold 0 is not positive"),
        ("run --threshold nan", 2, "the threshold nan is not positive"),
        ("run --percent 0", 2, "percentage 0 is out of range"),
        ("run --steps --turning-points", 2, "--steps and --turning-points exclude each other"),
        ("run --layers x", 2, "no name matches 'x'"),
        ("run --sort x", 2, "there is no column 'x' here"),
        ("run run/step_00000000.h5", 2, "run/step_00000000.h5 is given twice"),
        ("run/step_00000000.h5 --watch", 2, "--watch needs the folder of a run"),
        ("nowhere", 3, "nowhere: cannot be opened"),
        (".", 3, ". holds no statistics file"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: str, code: int, complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["dynamics", *options.split()]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith(f"condcli: error: {complaint}")


def test_counts_are_whole_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relu = activation("relu", units=2000, active_count=np.repeat([0, 50], [1234, 766]))
    write(stats(layer(), activations=(relu,), step=1), tmp_path / "1.h5")
    assert run(["dynamics", str(tmp_path)]) == 0
    assert "dying neurons  1234 ▄ 1234 of 2000" in capsys.readouterr().out


def test_odd_and_long_names_are_escaped_and_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = "[/bold]\x1b[31m‮" + "x" * 10_000
    for step in (1, 2, 3):
        grown = layer(odd, weight_norm=9.0 if step > 1 else 1.0)
        write(stats(grown, step=step), tmp_path / f"{step}.h5")
    for options in ([], ["--turning-points"], ["--steps"], ["--metric", "ratio"]):
        assert run(["dynamics", str(tmp_path), *options]) == 0
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) <= 80
        assert not {"\x1b", "‮"} & set(out)


def test_a_file_of_no_layers_and_a_run_of_one_file_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(stats(step=5, accuracy=None), tmp_path / "a.h5")
    for options in ([], ["--turning-points"], ["--steps"], ["--metric", "ratio"]):
        assert run(["dynamics", str(tmp_path), *options]) == 0
        assert "no rows" in capsys.readouterr().out


def test_neither_torch_nor_scipy_is_loaded(folder: Path) -> None:
    assert loaded_by("dynamics", str(folder.absolute())).isdisjoint(HEAVY)
    assert loaded_by("dynamics", "--help").isdisjoint((*HEAVY, "numpy", "h5py"))


def watching(folder: Path, *options: str, stdout: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "condcli", "dynamics", str(folder), "--watch", *options],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_pipe_gets_a_block_for_each_new_file_until_the_end(tmp_path: Path) -> None:
    with watching(tmp_path, "--format", "csv", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "waiting for the first statistics file" in process.stderr.readline()
        write(stats_at(0), tmp_path / "step_0.h5")
        header, *lines = [process.stdout.readline() for _ in range(3)]
        assert header.startswith("step,layer,loss,")
        assert [line.split(",")[:2] for line in lines] == [["0", "fc1"], ["0", "fc2"]]
        write(stats_at(100), tmp_path / "step_100.h5")
        more = [process.stdout.readline() for _ in range(2)]
        assert [line.split(",")[:2] for line in more] == [["100", "fc1"], ["100", "fc2"]]
        process.send_signal(signal.SIGINT)
        rest, complaint = process.communicate(timeout=60)
    assert (rest, complaint) == ("", "condcli: interrupted\n")
    assert process.returncode == 130


def test_a_reader_that_has_gone_ends_the_watch(tmp_path: Path) -> None:
    write(stats_at(0), tmp_path / "step_0.h5")
    with watching(tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        write(stats_at(100), tmp_path / "step_100.h5")
        assert process.wait(timeout=60) == 0


def test_a_terminal_is_drawn_anew_with_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LINES", "12")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    write(stats_at(0), tmp_path / "step_0.h5")
    ours, theirs = pty.openpty()
    try:
        with watching(tmp_path, stdout=theirs) as process:
            first = read_until(ours, b"more lines")
            write(stats_at(100), tmp_path / "step_100.h5")
            second = read_until(ours, b"more lines")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
    finally:
        os.close(ours)
        os.close(theirs)
    assert first.count("\x1b[H\x1b[2J") == 1
    assert "1, step 0" in first
    assert "2, steps 0 to 100" in second
    assert second.partition("\x1b[2J")[2].count("\n") <= 11


def read_until(descriptor: int, words: bytes) -> str:
    """What comes until these words do, and the rest of what is there."""
    text = b""
    while words not in text:
        assert select.select([descriptor], [], [], 60)[0], text
        text += os.read(descriptor, 4096)
    return text.decode()

"""``condcli export``: the run is what ``dynamics`` shows, in a file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from condcli.cli import run
from condcli.output import terminal
from condcli.statsfile import write
from tests.commands.test_startup import HEAVY, loaded_by
from tests.runs import stats_at


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two steps of a run in ./run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "_quiet", False)
    Path("run").mkdir()
    for step in (0, 500):
        write(stats_at(step), Path(f"run/step_{step:08}.h5"))
    return Path("run")


def test_what_is_exported_is_what_dynamics_shows(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "run", "--to", "csv", "-o", "run.csv"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "run.csv: 2 steps of 2 linear maps\n"
    assert printed.err == "condcli: note: steps are the checkpoints' own\n"
    with Path("run.csv").open(encoding="utf-8", newline="") as text:
        found = [(int(r["step"]), r["name"], float(r["value"])) for r in csv.DictReader(text)
                 if r["metric"] == "kappa"]  # fmt: skip
    assert run(["dynamics", "run", "--steps", "--metric", "kappa", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert found == [(row["step"], row["name"], row["value"]) for row in rows]


def test_the_percentage_is_that_of_the_condition_numbers(folder: Path) -> None:
    found = []
    for percent in ("50", "100"):
        name = f"{percent}.npz"
        assert run(["-q", "export", "run", "--to", "npz", "-o", name, "--percent", percent]) == 0
        with np.load(name) as arrays:
            found.append(arrays["kappa_input"][0, 0])
    assert found == pytest.approx([2.0, 4.0])  # of the eigenvalues 4, 2, 1


def test_one_file_is_a_run_of_one_step(folder: Path) -> None:
    file = next(folder.iterdir())
    assert run(["-q", "export", str(file), "--to", "npz", "-o", "one.npz"]) == 0
    with np.load("one.npz") as arrays:
        assert arrays["steps"].shape == (1,)


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        ("--to csv -o run/step_00000000.h5 --force", 5, "run/step_00000000.h5: is also an input"),
        ("--to npz -o nowhere/x.npz", 5, "nowhere/x.npz: there is no folder nowhere"),
        ("--to csv -o run", 5, "run: is a folder"),
        ("--to tensorboard -o nowhere/logs", 5, "nowhere/logs: the folder cannot be made"),
        ("--to excel -o x", 2, "Invalid value for '--to'"),
        ("--to csv", 2, "Missing option"),
        ("--to csv -o x --percent 101", 2, "percentage 101 is out of range"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(
    options: str, code: int, complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in folder.iterdir()}
    assert run(["export", "run", *options.split()]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith(f"condcli: error: {complaint}")
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    assert [path.name for path in Path().iterdir()] == ["run"]


def test_torch_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    out = ("-o", str(tmp_path / "logs"))
    assert loaded_by("export", str(folder.absolute()), "--to", "tensorboard", *out).isdisjoint(
        (*HEAVY, "wandb", "pyarrow")
    )
    assert loaded_by("export", "--help").isdisjoint((*HEAVY, "numpy", "tensorboard", "wandb"))

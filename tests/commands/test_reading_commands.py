"""What the reading commands print is under review in golden/; renew with ``--update-golden``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from condcli.analysis.defaults import DOMINATION_THRESHOLD
from condcli.cli import run
from condcli.statsfile import write
from tests.synthetic import stats

TABLES = {
    "spectrum-80.txt": (80, "spectrum stats.h5"),
    "spectrum-130.txt": (130, "spectrum stats.h5"),
    "spectrum-240.txt": (240, "spectrum stats.h5 --sort kappa_50"),
    "spectrum-percent.txt": (100, "spectrum stats.h5 --percent 90 --layers f*"),
    "spectrum.md": (80, "spectrum stats.h5 --format markdown"),
    "spectrum.csv": (80, "spectrum stats.h5 --format csv"),
    "eigenvalues.txt": (80, "spectrum stats.h5 --eigenvalues --layers head"),
    "spectrum-top-1.txt": (80, "spectrum stats.h5 --top 1"),
    "spectrum-top-3.txt": (50, "spectrum stats.h5 --top 3"),
    "spectrum-top.csv": (80, "spectrum stats.h5 --top 2 --format csv --sort lambda_k"),
    "eigenvalues-top.txt": (80, "spectrum stats.h5 --eigenvalues --top 2 --layers head"),
    "domination-80.txt": (80, "domination stats.h5"),
    "domination-lr.txt": (120, "domination stats.h5 --lr 0.1 --threshold 0.1"),
    "domination.json": (80, "domination stats.h5 --format json"),
    "neurons-80.txt": (80, "neurons stats.h5"),
    "neurons.csv": (80, "neurons stats.h5 --format csv --sort dying_share"),
    "inspect-80.txt": (80, "inspect stats.h5"),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_output_is_as_reviewed(
    name: str,
    file: Path,
    golden: Callable[[str, str], None],
    monkeypatch: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns, command = TABLES[name]
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(command.split()) == 0
    printed = capsys.readouterr()
    golden(name, printed.out)
    assert printed.err == ""
    assert "\x1b" not in printed.out


@pytest.mark.parametrize("command", ["diagnose", "spectrum", "domination", "neurons", "inspect"])
def test_every_reading_command_has_all_formats(
    command: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = []
    for form in ("json", "csv", "markdown"):
        assert run([command, str(file), "--format", form]) == 0
        out = capsys.readouterr().out
        if form == "json":
            found = json.loads(out)
            assert (found["command"], found["file"]) == (command, "stats.h5")
            lengths.append(len(found["rows"]))
        elif form == "csv":
            lengths.append(len(list(csv.reader(StringIO(out)))) - 1)
        else:
            lengths.append(sum(line.startswith("| ") for line in out.splitlines()) - 1)
    assert lengths[0] > 0
    assert len(set(lengths)) == 1


def test_inspect_reads_every_part_of_the_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = bytearray(file.read_bytes())
    place = whole.find(b"saturated_count")
    assert place > 0
    import h5py

    with h5py.File(file, "r+") as damaged:
        damaged["activations/gate/saturated_count"][0] = 99
    assert run(["inspect", str(file)]) == 3
    assert "stats.h5: the statistics file is truncated or damaged at 'gate'" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("domination --fail-on dominated --threshold 0.1", "dominated holds for 4 of 4 rows: fc1"),
        ("neurons --fail-on dying>10%", "dying>10% holds for 1 of 4 rows: relu1"),
        ("neurons --fail-on full>0 --fail-on units>9", "full>0 holds for 1 of 4 rows: relu1"),
        ("spectrum --fail-on kappa>1e6", "kappa>1e6 holds for 2 of 4 rows: fc1, head"),
    ],
)
def test_a_gate_that_holds_names_the_rows_and_exits_1(
    command: str, line: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = command.split()
    assert run([name, str(file), *options]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"condcli: {line}")
    assert printed.err.count("\n") == 1
    assert printed.out.startswith("net.pt")


def test_a_gate_that_does_not_hold_exits_0(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["neurons", str(file), "--fail-on", "dying>50%"]) == 0
    assert capsys.readouterr().err == ""


def test_quiet_leaves_the_results_and_the_exit_code(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--quiet", "neurons", str(file), "--fail-on", "full>0"]) == 1
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("net.pt")


@pytest.mark.parametrize("name", ["domination", "spectrum"])
def test_the_help_shows_the_defaults(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    shown = {"domination": f"default: {DOMINATION_THRESHOLD:g}", "spectrum": "default: (100,80,50)"}
    assert shown[name] in " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--percent 50 --eigenvalues", "--eigenvalues shows no κ for --percent"),
        ("--percent 50 --top 1", "--top shows no κ for --percent"),
        ("--top 0", "Invalid value for '--top'"),
        ("--top 1 --cache", "--top computes only some eigenvalues to --cache"),
        ("--percent 50,80,50.0", "a percentage is given twice"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: str, complaint: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["spectrum", str(file), *options.split()]) == 2
    assert complaint in capsys.readouterr().err


def test_percentages_that_are_nearly_the_same_have_columns_of_their_own(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    percent = "100,99.99999999"
    assert run(["spectrum", str(file), "--percent", percent, "--format", "json"]) == 0
    for row in json.loads(capsys.readouterr().out)["rows"]:
        assert list(row["kappa"]) == percent.split(",")


def test_a_file_without_layers_knows_the_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(stats(), tmp_path / "empty.h5")
    command = ["spectrum", str(tmp_path / "empty.h5"), "--percent", "70", "--fail-on"]
    assert run([*command, "kappa_70>1e6", "--sort", "kappa_70"]) == 0
    assert run([*command, "kappa_50>1e6"]) == 2
    assert "no column 'kappa_50'" in capsys.readouterr().err

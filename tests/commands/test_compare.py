"""``condcli compare``: what it prints, and its exit codes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from condcli.cli import run
from condcli.stats import ProbeStats
from condcli.statsfile import write
from tests.commands.test_diagnose import ODD, chain, few_rows, healthy
from tests.synthetic import activation


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vanishing.h5, patches.h5, healthy.h5 and odd.h5 in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    made = {
        "vanishing": chain(),
        "patches": chain(conv="patches", loss=0.5),
        "healthy": healthy(),
        "odd": few_rows(),
        "living": with_neurons(0, 40, 90),
        "dead": with_neurons(0, 0, 100, 0),
    }
    for name, stats in made.items():
        write(stats, tmp_path / f"{name}.h5")


def with_neurons(*active_count: int) -> ProbeStats:
    """A network with a ReLU whose units are on in so many of 100 rows."""
    units = activation("relu1", units=len(active_count), active_count=np.array(active_count))
    gate = activation(
        "gate", function="sigmoid", order=2, saturated_count=np.array([10, 0, 0, len(active_count)])
    )
    return replace(healthy(), activations={"relu1": units, "steady": activation(), "gate": gate})


TABLES = {
    "compare.txt": "compare healthy.h5 odd.h5",
    "compare-several.txt": "compare vanishing.h5 patches.h5 healthy.h5",
    "compare.csv": "compare healthy.h5 odd.h5 vanishing.h5 --format csv --sort lambda_max_grad",
    "compare.md": "compare healthy.h5 odd.h5 --format markdown",
    "compare.json": "compare healthy.h5 odd.h5 --format json",
    "compare-neurons.txt": "compare living.h5 dead.h5 odd.h5 --neurons",
    "compare-neurons.csv": "compare living.h5 dead.h5 --neurons --format csv",
    "compare-with-neurons.txt": "compare living.h5 dead.h5",
}


@pytest.mark.parametrize("name", TABLES)
def test_the_output_is_as_reviewed(
    name: str, golden: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(TABLES[name].split()) == 0
    printed = capsys.readouterr()
    golden(name, printed.out)
    assert printed.err == ""
    assert not set(printed.out) & {"\x1b", "\u202e"}


def test_json_has_both_numbers_and_the_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "vanishing.h5", "patches.h5", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == "vanishing.h5"
    assert len(found["rows"]) == 12
    change = found["rows"][0]["lambda_max_input"]
    assert change == {"first": pytest.approx(4), "then": pytest.approx(4), "ratio": 1.0}
    assert found["rows"][0]["file"] == "patches.h5"
    assert found["facts"]["not alike: conv"] == "channels and patches"


def test_csv_has_them_flat(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "healthy.h5", "odd.h5", "--format", "csv"]) == 0
    lines = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert [line["layer"] for line in lines] == [
        "fc",
        ODD.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e"),
    ]
    assert float(lines[0]["lambda_max_input_first"]) == pytest.approx(4)
    assert lines[0]["lambda_max_input"] == ""


@pytest.mark.parametrize(
    ("gate", "code"),
    [("lambda_max_grad<1e-3", 0), ("lambda_max_grad<=1", 1), ("weight_norm>2", 0)],
)
def test_a_gate_looks_at_the_ratio(
    gate: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "vanishing.h5", "patches.h5", "--fail-on", gate]) == code
    assert capsys.readouterr().err.count("\n") == code


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("healthy.h5", 2, "one file cannot be compared"),
        ("healthy.h5 none.h5", 3, "none.h5"),
        ("healthy.h5 odd.h5 --sort nothing", 2, "there is no column 'nothing'"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_nothing_on_stdout(
    words: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *words.split()]) == code
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert said in shown.err


def test_a_file_beside_itself_has_not_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "healthy.h5", "healthy.h5", "--format", "json"]) == 0
    assert [row["most"] for row in json.loads(capsys.readouterr().out)["rows"]] == [""]

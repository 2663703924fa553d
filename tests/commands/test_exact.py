"""``condcli exact``: what a person sees."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import pytest

from condcli.cli import run

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "sample_checkpoints" / "mlp5_he.pt")
SHORT = ["exact", MODEL, "--data", "digits", "--samples", "8"]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_the_table_fits_and_says_what_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(SHORT) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    for words in (
        "norm batch, 80 columns",
        "between layers",
        "λ(F)",
        "λ(K)",
        "error",
        "(all layers)",
    ):
        assert words in out


def test_json_and_csv_have_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SHORT, "--format", "json", "--percent", "1,50", "--mc-samples", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == "exact"
    assert document["facts"]["matrix"].startswith("fim, 2 drawn labels an example, norm")
    rows = document["rows"]
    assert [row["layer"] for row in rows] == [*(f"fc{i}" for i in range(1, 6)), "(all layers)"]
    assert all(0 < row["share"] < 1 and row["kappa"]["1"]["size"] > 0 for row in rows)
    assert run([*SHORT, "--format", "csv", "--percent", "1,50", "--mc-samples", "2"]) == 0
    table = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert [float(row["lambda_max"]) for row in table] == [row["lambda_max"] for row in rows]


def test_a_gate_exits_with_one_and_rows_can_be_sorted(capsys: pytest.CaptureFixture[str]) -> None:
    gated = [*SHORT, "--layers", "fc[12]", "--fail-on", "error>0.001", "--sort", "lambda_max"]
    assert run([*gated, "--format", "markdown"]) == 1
    out, err = capsys.readouterr()
    assert "error>0.001 holds for 3 of 3 rows" in err
    assert "fc3" not in out


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--matrix", "hesse"], 2, "--matrix"),
        (["--percent", "many"], 2, "is no list of numbers"),
        (["--matrix", "ggn", "--mc-samples", "2"], 2, "draws no labels"),
        (["--samples", "none"], 2, "is no number of examples"),
        (["--layers", "fc9"], 2, "is no layer"),
        (["--loss", "mse"], 3, "mse"),
    ],
)
def test_errors_are_one_line(
    options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*SHORT, *options]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_missing_checkpoint_is_an_input_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["exact", "nosuch.pt", "--data", "digits"]) == 3
    assert "nosuch.pt" in capsys.readouterr().err


def test_without_matrices_there_are_ends_traces_and_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    free = [*SHORT, "--matrix", "hessian", "--vectors", "3", "--layers", "fc5"]
    assert run([*free, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["facts"]["matrix"] == "hessian, norm batch, matrix-free"
    rows = document["rows"]
    assert [row["layer"] for row in rows] == ["fc5", "(all layers)"]
    assert [row["parameters"] for row in rows] == [640, 640]
    assert all(row["lambda_min"] < row["lambda_max"] for row in rows)
    assert all(row["trace_error"] > 0 for row in rows)


def test_the_table_of_estimates_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SHORT, "--matrix-free", "--vectors", "2", "--layers", "fc5"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "standard errors over 2 random vectors" in out
    assert "λmin" not in out


def test_lanczos_finds_the_largest_eigenvalues_of_the_gram_matrices(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for options in ([], ["--mc-samples", "2"]):
        found = []
        for form in ([], ["--matrix-free", "--vectors", "2"]):
            words = [*SHORT, "--layers", "fc5", *options, *form, "--format", "json"]
            assert run(words) == 0
            rows = json.loads(capsys.readouterr().out)["rows"]
            found.append([row["lambda_max"] for row in rows])
        assert found[1] == pytest.approx(found[0], rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [["--matrix-free", "--percent", "50"], ["--vectors", "5"], ["--matrix-free", "--vectors", "1"]],
)
def test_options_without_a_use_are_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*SHORT, *options]) == 2
    assert capsys.readouterr().out == ""

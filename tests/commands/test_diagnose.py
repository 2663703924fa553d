"""``condcli diagnose``: what it prints, in every format, and its exit codes."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from condcli.analysis.diagnosis import RULE_NAMES
from condcli.cli import run
from condcli.statsfile import write
from tests.synthetic import activation, diagonal, layer, stats

ODD = "evil.[/bold]\x1b[31m.<b>&\u202e"


def chain(**changes: Any) -> Any:
    """Twelve layers whose gradients vanish, and one that repeats a feature."""
    layers = [
        layer(
            f"fc{k}",
            diagonal(4.0, 2.0, 1.0),
            diagonal(0.1, 0.05) * 10.0 ** (k - 11),
            order=k,
            input_mean=np.array([0.1, -0.1, 0.1]),
        )
        for k in range(12)
    ]
    return stats(*layers, **changes)


def healthy() -> Any:
    return stats(layer("fc", input_mean=np.array([0.1, -0.1, 0.1])))


def few_rows() -> Any:
    rows = np.random.default_rng(0).standard_normal((4, 10))
    return stats(
        layer(ODD, rows.T @ rows / 4, input_mean=rows.mean(axis=0), rows=4, input_rows=4),
        activations=(activation(units=10, active_count=np.array([0] * 4 + [9] * 6)),),
    )


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vanishing.h5, healthy.h5 and odd.h5 in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name, made in [("vanishing", chain()), ("healthy", healthy()), ("odd", few_rows())]:
        write(made, tmp_path / f"{name}.h5")


TABLES = {
    "diagnose.txt": "diagnose vanishing.h5 healthy.h5 odd.h5",
    "diagnose.md": "diagnose vanishing.h5 --format markdown",
    "diagnose.csv": "diagnose odd.h5 vanishing.h5 --format csv",
    "diagnose.json": "diagnose odd.h5 healthy.h5 --format json",
    "diagnose.sarif": "diagnose odd.h5 vanishing.h5 --format sarif",
    "diagnose.xml": "diagnose odd.h5 healthy.h5 --format junit",
}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", TABLES)
def test_the_output_is_as_reviewed(
    name: str, golden: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(TABLES[name].split()) == 0
    printed = capsys.readouterr()
    golden(name, printed.out)
    assert printed.err == ""
    assert "\x1b" not in printed.out
    assert "\u202e" not in printed.out


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["diagnose", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.usefixtures("files")
def test_sarif_has_what_its_schema_requires(capsys: pytest.CaptureFixture[str]) -> None:
    """The required members and the enumerations of SARIF 2.1.0, §3.13 to §3.28 and §3.49."""
    log = json.loads(printed(capsys, "odd.h5", "vanishing.h5", "--format", "sarif"))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (found,) = log["runs"]
    driver = found["tool"]["driver"]
    assert driver["name"] == "condcli"
    identifiers = [rule["id"] for rule in driver["rules"]]
    assert len(set(identifiers)) == len(identifiers)
    assert len(found["results"]) == 3
    for result in found["results"]:
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        assert identifiers[result["ruleIndex"]] == result["ruleId"]
        (place,) = result["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] in ("odd.h5", "vanishing.h5")
    assert {"name": ODD, "kind": "member"} in found["results"][1]["locations"][0][
        "logicalLocations"
    ]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown", "sarif", "junit"])
def test_a_file_may_have_any_name(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"a \xff&<\x1b.h5")
    Path("odd.h5").rename(name)
    shown = printed(capsys, name, "--format", form)
    assert all(line.isprintable() for line in shown.split("\n"))
    if form == "sarif":
        assert '"a%20%FF%26%3C%1B.h5"' in shown


@pytest.mark.usefixtures("files")
def test_junit_has_a_case_for_every_rule_and_counts_what_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = ET.fromstring(printed(capsys, "odd.h5", "healthy.h5", "--format", "junit"))
    odd, fine = root.findall("testsuite")
    for suite in (odd, fine):
        assert [case.get("name") for case in suite.findall("testcase")] == list(RULE_NAMES)
        assert suite.get("tests") == str(len(RULE_NAMES))
    assert (odd.get("failures"), fine.get("failures")) == ("1", "0")
    assert [case.get("type") for case in odd.iter("failure")] == ["warning"]
    assert len(list(odd.iter("system-out"))) == 1
    assert list(fine.iter("failure")) == []


@pytest.mark.usefixtures("files")
def test_every_format_tells_the_same_findings(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("vanishing.h5", "odd.h5")
    rows = json.loads(printed(capsys, *names, "--format", "json"))["rows"]
    lines = list(csv.DictReader(StringIO(printed(capsys, *names, "--format", "csv"))))
    markdown = printed(capsys, *names, "--format", "markdown")
    results = json.loads(printed(capsys, *names, "--format", "sarif"))["runs"][0]["results"]
    rules = [row["rule"] for row in rows]
    assert len(rules) == 3
    assert [line["rule"] for line in lines] == rules == [result["ruleId"] for result in results]
    assert [json.loads(line["layers"]) for line in lines] == [row["layers"] for row in rows]
    assert [line["file"] for line in lines] == ["vanishing.h5", "odd.h5", "odd.h5"]
    assert all(rule in markdown for rule in rules)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("name", "gate", "code"),
    [
        ("vanishing.h5", "error", 1),
        ("vanishing.h5", "warning", 1),
        ("odd.h5", "warning", 1),
        ("odd.h5", "error", 0),
        ("healthy.h5", "warning", 0),
    ],
)
def test_the_gate_is_met_by_what_is_as_severe_or_more(
    name: str, gate: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diagnose", name, "--fail-on", gate]) == code
    said = capsys.readouterr()
    assert (said.err.count("\n"), bool(said.out)) == (code, True)


@pytest.mark.usefixtures("files")
def test_the_gate_names_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", "healthy.h5", "vanishing.h5", "--fail-on", "error"]) == 1
    line = "condcli: error holds for 1 of 1 findings: vanishing-gradient\n"
    assert capsys.readouterr().err == line


@pytest.mark.usefixtures("files")
def test_thresholds_shown_are_thresholds_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = printed(capsys, "--show-thresholds")
    (tmp_path / "bounds.toml").write_text(shown.replace("= 6.0", "= 99.0").replace("10.0", "99.0"))
    printed_then = printed(capsys, "vanishing.h5", "--thresholds", "bounds.toml")
    assert "nothing found" in printed_then
    assert "depth_decades_error = 99.0" in printed(
        capsys, "--thresholds", "bounds.toml", "--show-thresholds"
    )


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("", 2, "there is no file to diagnose"),
        ("none.h5", 3, "none.h5"),
        ("healthy.h5 none.h5", 3, "none.h5"),
        ("healthy.h5 --thresholds none.toml", 3, "none.toml"),
        ("healthy.h5 --thresholds healthy.h5", 3, "healthy.h5"),
        ("healthy.h5 --fail-on note", 2, "--fail-on"),
        ("healthy.h5 --format yaml", 2, "--format"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_nothing_on_stdout(
    words: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diagnose", *words.split()]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert said in shown.err

from __future__ import annotations

import csv
import json
import math
from io import StringIO
from typing import Any

import pytest

import condcli
from condcli.output.machine import to_csv, to_json
from condcli.output.markdown import to_markdown
from condcli.output.render import render
from condcli.output.table import to_table
from tests.output.rows import Row, kappa, report
from tests.synthetic import provenance


def strictly(text: str) -> Any:
    """JSON as the standard has it: NaN and Infinity are errors."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_json_has_the_documented_form() -> None:
    found = strictly(to_json(report(Row(), provenance=provenance(loss=math.nan))))
    assert list(found) == ["condcli", "file", "command", "provenance", "facts", "rows"]
    assert (found["condcli"], found["file"]) == (condcli.__version__, "stats.h5")
    assert found["provenance"]["examples"] == 100
    assert found["provenance"]["loss"] is None
    (row,) = found["rows"]
    assert row["kappa"]["100"] == {
        "value": None,
        "lower_bound": 42e5,
        "infinite": False,
        "rank": 3,
        "size": 4,
    }
    assert (row["extra"], row["note"], row["dominated"]) == (None, "", False)
    assert "shape" not in row


def test_json_keeps_names_whole_and_its_text_free_of_control_characters() -> None:
    name = "[/bold]\x1b[31m\0\u202e\udcff"
    text = to_json(report(Row(layer=name)))
    assert strictly(text)["rows"][0]["layer"] == name
    assert text.isascii()
    assert text.replace("\n", "").isprintable()


def test_csv_has_a_header_and_every_column() -> None:
    infinite = Row(kappa={"100": kappa(math.inf), "50": kappa(1.0)})
    text = to_csv(report(Row(layer='a,"b"', loss=None), infinite))
    assert text.count("\n") == 3
    first, second = csv.DictReader(StringIO(text))
    assert (first["layer"], first["loss"], first["dominated"]) == ('a,"b"', "", "False")
    assert (first["kappa_100"], first["kappa_100_lower_bound"]) == ("", "4200000.0")
    assert second["kappa_100"] == "inf"


def test_without_rows_csv_is_a_header_and_json_an_empty_list() -> None:
    assert to_csv(report()).startswith("layer,units,loss,kappa_100,")
    assert strictly(to_json(report()))["rows"] == []
    assert "no rows" in to_table(report())
    assert to_markdown(report()).startswith("| layer |")


def test_markdown_escapes_what_it_would_act_on() -> None:
    text = to_markdown(report(Row(layer="a|b*c_d`<x>")))
    assert r"| a\|b\*c\_d\`\<x\> |" in text
    header, rule, row = text.splitlines()[:3]
    assert header.count("|") == rule.count("|") == row.count("|") - 1


def test_a_table_escapes_markup_and_control_characters() -> None:
    text = to_table(report(Row(layer="[/bold]\x1b[31m")))
    assert "[/bold]\\x1b[31m" in text
    assert "\x1b" not in text


def test_notes_appear_only_for_signs_that_occur() -> None:
    with_both = to_table(report(Row(loss=None)))
    assert ">  a lower bound" in with_both
    assert "–  no value" in with_both
    neither = to_table(report(Row(layer="> – name", kappa={"50": kappa(1.0)})))
    assert "a lower bound" not in neither
    assert "no value" not in neither


def test_optional_columns_are_shown_when_they_have_values() -> None:
    assert "extra" not in to_table(report(Row()))
    assert "extra" in to_table(report(Row(), Row(extra=1.0)))


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_table_is_no_wider_than_the_terminal(monkeypatch: Any, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = to_table(report(Row(layer="features." * 20), provenance=provenance()))
    assert max(map(len, text.splitlines())) <= columns


def test_hidden_columns_are_counted(monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "55")
    assert "+  2 more columns" in to_table(report(Row()))


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown"])
def test_every_format_ends_with_one_newline(form: Any) -> None:
    text = render(report(Row(), facts={"format": "zip"}), form)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_a_table_too_wide_for_the_terminal_is_cut_and_not_wrapped(monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    lines = to_table(report(Row(layer="first"), Row(layer="last"), legend={})).splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["layer", "first", "last"]
    assert lines[3] == ""


def test_letters_of_double_width_keep_the_columns_straight() -> None:
    header, wide, narrow = to_table(report(Row(layer="層"), Row(layer="fc"))).splitlines()[:3]
    assert wide.replace("層", "fc") == narrow
    assert header.index("units") + len("units") == narrow.index("10") + 2

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from condcli.output import terminal
from condcli.output.table import to_table
from condcli.output.terminal import (
    be_quiet,
    complain,
    discard_stdout,
    emit,
    notice,
    showable,
    width,
)
from tests.output.rows import Row, report


def test_signs_become_letters_where_stdout_cannot_show_them(monkeypatch: Any) -> None:
    assert showable("λ(Σ∇h) ∞ █▁ é") == "λ(Σ∇h) ∞ █▁ é"
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert showable("λ(Σ∇h) ∞ █▁ é") == "l(Sdh) inf 81 \\xe9"


def test_a_result_is_written_in_the_letters_that_stdout_has(monkeypatch: Any) -> None:
    target = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(target, encoding="ascii"))
    emit("layer,κ\né,∞\n")
    assert target.getvalue() == b"layer,k\n\\xe9,inf\n"


def test_quiet_silences_notices_and_not_complaints(
    monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_quiet", False)
    notice("one")
    be_quiet(True)
    notice("two")
    complain("three\x1b[0m")
    assert capsys.readouterr().err == "condcli: one\ncondcli: three\\x1b[0m\n"


@pytest.mark.parametrize(("columns", "expected"), [("120", 120), ("", 80), ("0", 80)])
def test_the_width_is_that_of_columns_else_80(
    monkeypatch: Any, columns: str, expected: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())
    assert width() == expected


def test_a_closed_stdout_drops_the_results(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    emit("κ\n")
    discard_stdout()
    assert to_table(report(Row())).startswith("layer")


def test_a_closed_stderr_sends_no_complaint_to_stdout(
    monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    complain("error: it is wrong")
    assert capsys.readouterr().out == ""

"""Every table of bad inputs, through the one helper."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests.reliability.cases import Case
from tests.reliability.invariants import fails_as_promised
from tests.reliability.runner import Runner

TABLES = sorted(file.stem for file in Path(__file__).parent.glob("bad_*.py"))
CASES: list[tuple[str, Case]] = [
    (table, case) for table in TABLES for case in import_module(f"tests.reliability.{table}").CASES
]


@pytest.mark.parametrize(("table", "case"), CASES, ids=lambda of: getattr(of, "name", of))
def test_it_fails_as_promised(table: str, case: Case, runner: Runner, tmp_path: Path) -> None:
    fails_as_promised(runner, case, tmp_path)


def test_no_two_cases_have_one_name() -> None:
    names = [f"{table}: {case.name}" for table, case in CASES]
    assert len(names) == len(set(names))

"""The figures of the sweeps are put where they belong."""

from __future__ import annotations

import re

from tests.reliability.faults import FAULTS
from tests.reliability.sweeps import DOCUMENT, SWEEPS, with_breaks, with_count, with_row
from tests.reliability.test_bad_inputs import CASES


def test_every_sweep_has_its_row() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in SWEEPS:
        assert f"| `sweep_{name}` | new |" in with_row(text, name, "new")


def test_a_row_is_replaced_whole_and_alone() -> None:
    text = "| `sweep_a` | old |\n| `sweep_b` | old |\n"
    assert with_row(text, "a", r"\1 new") == "| `sweep_a` | \\1 new |\n| `sweep_b` | old |\n"


def test_lines_share_a_cell() -> None:
    assert with_breaks("a\nb|\n") == r"a<br>b\|"


def test_a_count_is_replaced_alone() -> None:
    text = "<!-- a -->1<!-- /a --> of <!-- b -->2<!-- /b -->"
    assert with_count(text, "b", 30) == "<!-- a -->1<!-- /a --> of <!-- b -->30<!-- /b -->"


def counted(name: str) -> int:
    """The number that the document gives."""
    found = re.search(
        rf"<!-- {name} -->(\d+)<!-- /{name} -->", DOCUMENT.read_text(encoding="utf-8")
    )
    assert found
    return int(found[1])


def test_there_are_as_many_cases_as_promised() -> None:
    assert 150 <= counted("cases") <= len(CASES)
    assert 30 <= counted("faults") <= len(FAULTS)

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condcli.output.escaping import escaped


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("layer1.0.conv", "layer1.0.conv"),
        ("größe √ 層", "größe √ 層"),
        ("[/bold]x", "[/bold]x"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\0b\n\r\t", "a\\x00b\\n\\r\\t"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("right\u202eleft", "right\\u202eleft"),
        ("\udcff", "\\udcff"),
        ("two\u2028lines", "two\\u2028lines"),
    ],
)
def test_control_characters_become_visible(raw: str, shown: str) -> None:
    assert escaped(raw) == shown


@given(st.text())
def test_nothing_that_a_terminal_acts_on_remains(raw: str) -> None:
    assert all(unicodedata.category(c)[0] != "C" for c in escaped(raw))
    assert len(escaped(raw).splitlines()) <= 1

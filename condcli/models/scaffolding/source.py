"""Python source as a formatter would lay it out."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from typing import TypeAlias

WIDTH = 88  # what formatters take where a project does not say
STEP = "    "


@dataclass(frozen=True, slots=True)
class Item:
    """One of the things between brackets."""

    code: Code
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Brackets:
    """A call, tuple or list: what is before its items, they, and what is after."""

    opening: str
    items: tuple[Item, ...]
    closing: str


Code: TypeAlias = "str | Brackets"


def lines(code: Code, indent: str, *, end: str = "", comment: str = "") -> list[str]:
    """The lines of a statement or item: one if that fits, else an item a line."""
    line = indent + flat(code) + end
    if isinstance(code, str) or (len(line) <= WIDTH and not _has_comment(code)):
        return _commented(indent, [line], comment)
    inner = [
        line
        for item in code.items
        for line in lines(item.code, indent + STEP, end=",", comment=item.comment)
    ]
    return _commented(indent, [indent + code.opening, *inner, indent + code.closing + end], comment)


def flat(code: Code) -> str:
    """The code in one line, without comments."""
    if isinstance(code, str):
        return code
    return f"{code.opening}{', '.join(flat(item.code) for item in code.items)}{code.closing}"


def quoted(text: str) -> str:
    """The text as a Python string of ASCII characters."""
    escaped = text.encode("unicode_escape").decode("ascii")
    if text.count('"') > text.count("'"):
        return "'" + escaped.replace("'", "\\'") + "'"
    return '"' + escaped.replace('"', '\\"') + '"'


def is_attribute(name: str) -> bool:
    """Whether `self.NAME` is this very name: Python normalises others, or changes `__NAME`."""
    return (
        name.isascii()
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("__")
    )


def _has_comment(code: Code) -> bool:
    return isinstance(code, Brackets) and any(
        item.comment or _has_comment(item.code) for item in code.items
    )


def _commented(indent: str, text: list[str], comment: str) -> list[str]:
    """The comment at the end of the line, or above where there is no room."""
    if not comment:
        return text
    if len(text) == 1 and len(text[0]) + len(comment) + 4 <= WIDTH:
        return [f"{text[0]}  # {comment}"]
    return [f"{indent}# {comment}", *text]

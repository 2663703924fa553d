"""Names and messages made safe to show: no control character reaches the terminal."""

from __future__ import annotations

import unicodedata


def escaped(text: str) -> str:
    """The text with control, format, surrogate and line-separating characters as escapes."""
    if text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return character
    return character.encode("unicode_escape").decode("ascii")

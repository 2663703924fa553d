"""The two streams: results to stdout, everything else to stderr."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from contextlib import suppress
from typing import TextIO

from condcli.output.escaping import escaped

LONGEST_LINE = 2000  # characters on stderr
_ASCII = str.maketrans(
    {
        "λ": "l",
        "κ": "k",
        "σ": "s",
        "Σ": "S",
        "∇": "d",
        "∂": "d",
        "‖": "|",
        "∞": "inf",
        "≤": "<=",
        "×": "x",
        "·": ".",
        "–": "-",
        "…": "~",
        **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)),
    }
)
_CLEAR = "\x1b[H\x1b[2J"  # ECMA-48: to the upper left, and erase
_quiet = False


def be_quiet(wanted: bool) -> None:
    """Whether from now on nothing but errors is said on stderr."""
    global _quiet
    _quiet = wanted


def is_quiet() -> bool:
    """Whether only errors may be said on stderr."""
    return _quiet


def on_terminal() -> bool:
    """Whether stderr is a terminal on which a line can be drawn anew."""
    return _is_terminal(sys.stderr)


def _is_terminal(stream: TextIO | None) -> bool:
    with suppress(AttributeError, ValueError):  # none, or closed
        return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")  # type: ignore[union-attr]
    return False


def notice(message: str) -> None:
    """Say one line on stderr, unless asked to be quiet."""
    if not _quiet:
        complain(message)


def complain(message: str) -> None:
    """Say one line on stderr; what cannot be shown in one line is escaped, or left out."""
    _write_error(f"condcli: {shortened(escaped(message))}")


def show_traceback(error: BaseException) -> None:
    """Show on stderr where the error comes from; names from files are escaped there, too."""
    for part in traceback.format_exception(error):
        for line in part.rstrip("\n").split("\n"):
            _write_error(escaped(line))


def _write_error(line: str) -> None:
    if sys.stderr is None:  # closed: print would turn to stdout
        return
    print(line, file=sys.stderr, flush=True)


def shortened(line: str) -> str:
    """The line with what is too much of it left out of its middle: the remedy is at its end."""
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} … {line[-half:]}"


def emit(text: str) -> None:
    """Write a result to stdout.

    A reader that has gone, as in `condcli … | head`, is no error: the rest is thrown away, as is
    everything where stdout is closed.
    """
    try:
        append(text)
    except BrokenPipeError:
        discard_stdout()


def append(text: str) -> None:
    """Write a part of a result to stdout; BrokenPipeError when nobody reads it any more."""
    if sys.stdout is not None:
        sys.stdout.write(showable(text))
        sys.stdout.flush()


def redraw(text: str) -> None:
    """Show this alone on the terminal, as much as fits."""
    lines = text.splitlines()
    room = shutil.get_terminal_size((80, 24)).lines - 1
    if len(lines) > room:
        lines = [*lines[: room - 1], f"{len(lines) - room + 1} more lines in a higher terminal"]
    append(_CLEAR + "\n".join(lines) + "\n")


def is_drawable() -> bool:
    """Whether stdout is a terminal that can be drawn anew."""
    return _is_terminal(sys.stdout)


def discard_stdout() -> None:
    """Throw away what is still to be written; else the interpreter complains of it at exit."""
    if sys.stdout is None:
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def width() -> int:
    """Columns to write for: COLUMNS, else the terminal's, else 80."""
    return shutil.get_terminal_size((80, 24)).columns


def showable(text: str) -> str:
    """The text, in words and letters of ASCII where stdout cannot show its signs."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return text

"""What a shell completes: the names after --arch and --data, without importing torch."""

from __future__ import annotations

import os
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from condcli.errors import UsageError
from condcli.names import DATA_PREFIXES, DATA_SETS, ZOO, vision_names

COMPLETE = "_CONDCLI_COMPLETE"  # set by a shell that asks, to complete_bash, complete_zsh, …
VISION = "torchvision:"


def complete_arch(incomplete: str) -> list[str]:
    """The networks whose names begin so; torchvision's once a letter of their prefix is there."""
    names = list(ZOO)
    if incomplete and VISION.startswith(incomplete[: len(VISION)]):
        names += [VISION + name for name in vision_names()]
    return _beginning(names, incomplete) if incomplete else [*names, VISION, "timm:", "hf:"]


def complete_data(incomplete: str) -> list[str]:
    """The data sets whose names begin so; where none does, shells complete files."""
    names = list(DATA_SETS)
    prefixes = [f"{prefix}:" for prefix in DATA_PREFIXES]
    return _beginning(names, incomplete) if incomplete else [*names, *prefixes]


def complete(command: Any) -> None:
    """Answer the shell on stdout.

    bash takes a colon for the end of a word, and wants only what comes after it. Raises UsageError
    where the environment is not what a shell makes of it.
    """
    from typer.completion import shell_complete

    instruction = os.environ[COMPLETE]
    typed = _join_at_colons() if instruction == "complete_bash" else ""
    answer = StringIO()
    with redirect_stdout(answer), redirect_stderr(StringIO()):  # what is wrong, we say
        code = shell_complete(command, {}, "condcli", COMPLETE, instruction)
    if code != 0:
        raise UsageError(
            f"{COMPLETE}={instruction} asks for no completion that there is", f"unset {COMPLETE}"
        )
    for line in filter(None, answer.getvalue().splitlines()):
        print(line.removeprefix(typed))


def _beginning(names: list[str], start: str) -> list[str]:
    return [name for name in names if name.startswith(start)]


def _join_at_colons() -> str:
    """Make one word again of what bash split; what of the current one is before its last colon."""
    words = os.environ.get("COMP_WORDS", "").split("\n")
    place_of_word = os.environ.get("COMP_CWORD", "0")
    if not (place_of_word.isascii() and place_of_word.isdigit()):
        raise UsageError(f"COMP_CWORD={place_of_word} is no place of a word", f"unset {COMPLETE}")
    current = int(place_of_word)
    joined: list[str] = []
    place = 0
    for number, word in enumerate(words):
        if joined and number > 1 and (word == ":" or words[number - 1] == ":"):
            joined[-1] += word
        else:
            joined.append(word)
        if number == current:
            place = len(joined) - 1
    if current < len(words):
        os.environ |= {"COMP_WORDS": "\n".join(joined), "COMP_CWORD": str(place)}
        return joined[place][: len(joined[place]) - len(words[current].removeprefix(":"))]
    return ""

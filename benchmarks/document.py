"""Tables in Markdown, and where they go: standard output, a document, and its raw numbers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows]) + "\n"


def number(value: float | None, form: str = ".2f") -> str:
    """The value in that form, or a dash for none."""
    return "–" if value is None else format(value, form)


def megabytes(value: float | None) -> str:
    """Bytes as whole millions, or a dash for none."""
    return number(None if value is None else value / 1e6, ".0f")


def origin(facts: Mapping[str, str]) -> str:
    """The command that was run, and where."""
    command = " ".join(["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    return f"`{command}`: " + "; ".join(f"{name} {value}" for name, value in facts.items()) + "."


def keep(name: str, text: str, raw: Any, *, document: Path) -> None:
    """Put the text into the document's section of that name, and ``raw`` into a JSON file."""
    document.write_text(with_section(document.read_text(), name, text))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n")


def with_section(document: str, name: str, text: str) -> str:
    """The document with that text between the marks of section ``name``."""
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    marked = re.compile(f"{re.escape(opening)}.*?{re.escape(closing)}", re.DOTALL)
    if not marked.search(document):
        raise SystemExit(f"the document has no section between {opening} and {closing}")
    return marked.sub(lambda _: f"{opening}\n{text.strip()}\n{closing}", document, count=1)

"""Run the sweeps, and put what they tried and found into docs/reliability.md.

`python -m tests.reliability.sweeps [NAME…]`: all sweep_*.py, or those named, such as `flips`. A
sweep prints a line for each kind of thing that it tried, and ends by AssertionError where a promise
is broken; then nothing is written of it, and the exit code is 1.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from tests.reliability.faults import FAULTS
from tests.reliability.runner import ROOT
from tests.reliability.test_bad_inputs import CASES

DOCUMENT = ROOT / "docs" / "reliability.md"
SWEEPS = sorted(
    file.stem.removeprefix("sweep_") for file in Path(__file__).parent.glob("sweep_*.py")
)


def found(name: str) -> str | None:
    """What the sweep says, in one text; None where it failed, which is shown."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"tests.reliability.sweep_{name}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(f"{name}, {time.monotonic() - start:.0f} s, exit {done.returncode}:\n{done.stdout}")
    return with_breaks(done.stdout) if done.returncode == 0 else None


def with_breaks(lines: str) -> str:
    """The lines as one cell of a table."""
    return "<br>".join(lines.replace("|", "\\|").splitlines())


def with_row(document: str, name: str, text: str) -> str:
    """The document with this text in the sweep's row of the table between the marks."""
    row = re.compile(rf"^\| `sweep_{name}` \|.*$", re.MULTILINE)
    if not row.search(document):
        raise SystemExit(f"{DOCUMENT} has no row for sweep_{name}")
    return row.sub(lambda _: f"| `sweep_{name}` | {text} |", document)


def with_count(document: str, name: str, number: int) -> str:
    """The document with this number between the marks of this name."""
    between = re.compile(rf"(?<=<!-- {name} -->)\d+(?=<!-- /{name} -->)")
    return between.sub(str(number), document)


def main(names: list[str]) -> int:
    """Run the sweeps of these names, or all; how many failed, as an exit code.

    The tables' cases are counted anew each time.
    """
    failed = False
    for name in names or SWEEPS:
        text = found(name)
        failed |= text is None
        if text is not None:
            DOCUMENT.write_text(with_row(DOCUMENT.read_text(encoding="utf-8"), name, text))
    document = DOCUMENT.read_text(encoding="utf-8")
    for name, number in (("cases", len(CASES)), ("faults", len(FAULTS))):
        document = with_count(document, name, number)
    DOCUMENT.write_text(document, encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

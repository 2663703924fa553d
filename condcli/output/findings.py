"""Findings for people: how bad, what, where, by which numbers, why, and what to try."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from condcli.analysis.diagnosis import SEVERITIES, Finding, Severity
from condcli.output.cells import text
from condcli.output.escaping import escaped
from condcli.output.headline import headline
from condcli.output.terminal import showable, width
from condcli.stats import Provenance

_STYLES: dict[Severity, str] = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


def to_text(provenance: Provenance, findings: Sequence[Finding], looked_at: str) -> str:
    """The headline, the findings, and a last line that counts them; no wider than the terminal."""
    console = Console(file=sys.stdout, width=width(), highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(Text(showable(headline(provenance)), style="bold"))
        for finding in findings:
            console.print()
            console.print(_block(finding))
        console.print()
        console.print(Text(showable(f"{tally(findings)}; looked through {looked_at}")))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def tally(findings: Sequence[Finding]) -> str:
    """`nothing found`, or how many findings of each severity there are."""
    counts = Counter(finding.severity for finding in findings)
    parts = [
        f"{counts[severity]} {severity}{'s' if counts[severity] > 1 else ''}"
        for severity in SEVERITIES
        if counts[severity]
    ]
    return ", ".join(parts) or "nothing found"


def _block(finding: Finding) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    lines = {
        finding.severity.upper(): f"{finding.title} [{finding.rule}]",
        "layers": text(finding.layers, "names") if finding.layers else "",
        "evidence": finding.evidence,
        "why": f"{finding.mechanism} ({finding.source})",
        "try": finding.remedy,
    }
    for place, (name, words) in enumerate(lines.items()):
        if words:
            style = "dim" if place else _STYLES[finding.severity]
            table.add_row(
                Text(name, style=style),
                Text(showable(escaped(words)), style="" if place else "bold"),
            )
    return table

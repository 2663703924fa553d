"""The findings of some files, in the format asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

from condcli.analysis.diagnosis import Finding
from condcli.output.machine import to_csv, to_json
from condcli.output.markdown import to_markdown
from condcli.output.report import Report
from condcli.stats import Provenance


class Diagnosed(NamedTuple):
    """One file, where its numbers come from, what was found, and in what."""

    file: Path
    provenance: Provenance
    findings: Sequence[Finding]
    looked_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFinding(Finding):
    """A finding, and the file that it is of."""

    file: str = field(metadata={"title": "file"})


def render_diagnosis(diagnosed: Sequence[Diagnosed], form: str) -> str:
    """Tables for people, one below the other; else one document for all files."""
    if form == "table":
        from condcli.output.findings import to_text  # Rich takes a tenth of a second to import

        return "\n".join(to_text(*item[1:]) for item in diagnosed)
    if form == "sarif":
        from condcli.output.sarif import to_sarif

        return to_sarif([(item.file, item.findings) for item in diagnosed])
    if form == "junit":
        from condcli.output.junit import to_junit

        return to_junit([(item.file, item.findings) for item in diagnosed])
    return {"json": to_json, "csv": to_csv, "markdown": to_markdown}[form](_report(diagnosed))


def _report(diagnosed: Sequence[Diagnosed]) -> Report:
    """Of one file a report like every other's; of several, their rows with each one's name."""
    names = [item.name for item in fields(Finding)]
    rows = [
        FileFinding(file=str(item.file), **{name: getattr(finding, name) for name in names})
        for item in diagnosed
        for finding in item.findings
    ]
    alone = diagnosed[0] if len(diagnosed) == 1 else None
    looked_at = {str(item.file): item.looked_at for item in diagnosed}
    return Report(
        command="diagnose",
        file=alone.file if alone else None,
        row_type=FileFinding,
        rows=rows,
        provenance=alone.provenance if alone else None,
        facts={"looked through": alone.looked_at} if alone else looked_at,
    )

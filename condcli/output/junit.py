"""Findings as JUnit XML, which nearly every continuous integration shows: a test case a rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from condcli.analysis.diagnosis import RULE_NAMES, Finding
from condcli.output.escaping import escaped


def to_junit(found: Sequence[tuple[Path, Sequence[Finding]]]) -> str:
    """A test suite for each file; errors and warnings fail their rule's case, notes do not."""
    root = ET.Element("testsuites", name="condcli diagnose")
    for file, findings in found:
        failed = {finding.rule for finding in findings if finding.severity != "note"}
        suite = ET.SubElement(
            root,
            "testsuite",
            name=escaped(str(file)),
            tests=str(len(RULE_NAMES)),
            failures=str(len(failed)),
            errors="0",
        )
        for rule in RULE_NAMES:
            case = ET.SubElement(suite, "testcase", classname="condcli.diagnose", name=rule)
            _fill(case, [finding for finding in findings if finding.rule == rule])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _fill(case: ET.Element, findings: Sequence[Finding]) -> None:
    for finding in findings:
        note = finding.severity == "note"
        element = ET.SubElement(case, "system-out" if note else "failure")
        if not note:
            element.set("type", finding.severity)
            element.set("message", escaped(finding.title))
        element.text = escaped(f"{finding.evidence}. {finding.mechanism} {finding.remedy}")

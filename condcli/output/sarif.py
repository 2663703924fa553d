"""Findings as SARIF 2.1.0 (OASIS standard, 2020), which code hosts show beside a change."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import condcli
from condcli.analysis.diagnosis import Finding

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def to_sarif(found: Sequence[tuple[Path, Sequence[Finding]]]) -> str:
    """One run of condcli: a result for each finding, at its file and layers."""
    rules = {finding.rule: finding for _, findings in found for finding in findings}
    places = {rule: place for place, rule in enumerate(rules)}
    results = [
        _result(file, finding, places[finding.rule])
        for file, findings in found
        for finding in findings
    ]
    driver = {
        "name": "condcli",
        "version": condcli.__version__,
        "rules": [_rule(finding) for finding in rules.values()],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _rule(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.rule,
        "shortDescription": {"text": finding.rule.replace("-", " ")},
        "fullDescription": {"text": f"{finding.mechanism} ({finding.source})"},
        "help": {"text": finding.remedy},
    }


def _result(file: Path, finding: Finding, place: int) -> dict[str, Any]:
    return {
        "ruleId": finding.rule,
        "ruleIndex": place,
        "level": finding.severity,
        "message": {"text": f"{finding.title}: {finding.evidence}. {finding.remedy}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(os.fsencode(file.as_posix()))}
                },
                "logicalLocations": list(_layers(finding.layers)),
            }
        ],
    }


def _layers(names: Iterable[str]) -> Iterable[dict[str, Any]]:
    return ({"name": name, "kind": "member"} for name in names)

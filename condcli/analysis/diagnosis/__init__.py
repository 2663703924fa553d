"""What is wrong with a network, where, and what to try: findings from one statistics file.

Each family of rules is one file here. docs/diagnosis.md says what every rule means, where its
thresholds come from, and what it says of real networks.
"""

from __future__ import annotations

from condcli.analysis.diagnosis.finding import SEVERITIES, Finding, Severity
from condcli.analysis.diagnosis.rules import RULE_NAMES, RULES, diagnose
from condcli.analysis.diagnosis.thresholds import DEFAULTS, Thresholds

__all__ = [
    "DEFAULTS",
    "RULES",
    "RULE_NAMES",
    "SEVERITIES",
    "Finding",
    "Severity",
    "Thresholds",
    "diagnose",
]

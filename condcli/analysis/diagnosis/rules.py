"""All rules, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from condcli.analysis.diagnosis.depth import depth_trends
from condcli.analysis.diagnosis.finding import SEVERITIES, Finding
from condcli.analysis.diagnosis.network import Network, look_at
from condcli.analysis.diagnosis.thresholds import DEFAULTS, Thresholds
from condcli.stats import ProbeStats

Rule = Callable[[Network, Thresholds], Iterator[Finding]]

# Causes before what they bring about: among findings of one severity, this order is kept.
RULES: tuple[Rule, ...] = (depth_trends,)


def diagnose(
    stats: ProbeStats, thresholds: Thresholds = DEFAULTS, *, workers: int = 1
) -> list[Finding]:
    """The findings, the most severe first; none where nothing is wrong.

    Up to so many `workers` find the eigenvalues of a layer each at a time. Raises `InputError`
    naming a layer whose matrix is no second moment.
    """
    network = look_at(stats, workers=workers)
    found = [finding for rule in RULES for finding in rule(network, thresholds)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))

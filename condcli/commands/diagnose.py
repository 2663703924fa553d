"""``condcli diagnose FILE…``: what is wrong, where, why, and what to try."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from condcli.commands import naming, workers
from condcli.errors import UsageError

if TYPE_CHECKING:
    from condcli.analysis.diagnosis import Finding
    from condcli.stats import ProbeStats

EXAMPLES = """
condcli diagnose stats.h5

condcli diagnose run/*.h5 --fail-on error --format sarif > findings.sarif

condcli diagnose --show-thresholds > thresholds.toml
"""
DiagnosisFormat = Literal["table", "json", "csv", "markdown", "sarif", "junit"]

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FILE", help="Statistics files that condcli probe wrote.", readable=False
    ),
]
ThresholdFile = Annotated[
    Path | None,
    typer.Option(
        "--thresholds",
        metavar="FILE.toml",
        help="Bounds to compare with, in place of the defaults.",
        show_default=False,
        readable=False,
    ),
]
ShowThresholds = Annotated[
    bool, typer.Option("--show-thresholds", help="Print the bounds as TOML, and nothing else.")
]
FormatOption = Annotated[
    DiagnosisFormat,
    typer.Option("--format", help="How to write the result; sarif and junit are for CI."),
]
FailOn = Annotated[
    Literal["error", "warning"] | None,
    typer.Option(
        "--fail-on",
        help="Exit 1 when there is a finding as severe as this, or more.",
        show_default=False,
    ),
]


def diagnose(
    files: Files = None,
    thresholds: ThresholdFile = None,
    show_thresholds: ShowThresholds = False,
    form: FormatOption = "table",
    fail_on: FailOn = None,
) -> None:
    """Show what is wrong, most severe first: evidence in numbers, mechanism and remedy.

    docs/diagnosis.md has every rule, its thresholds, and what it says of real networks.
    """
    from condcli import statsfile
    from condcli.analysis import diagnosis
    from condcli.analysis.diagnosis.threshold_file import as_toml, read_thresholds
    from condcli.output.diagnosis import Diagnosed, render_diagnosis
    from condcli.output.terminal import emit

    bounds = diagnosis.DEFAULTS if thresholds is None else read_thresholds(thresholds)
    if show_thresholds:
        emit(as_toml(bounds))
        return
    if not files:
        raise UsageError("there is no file to diagnose", "name what condcli probe wrote")
    diagnosed = []
    for file in files:
        stats = statsfile.read(file)
        with naming(file):
            findings = diagnosis.diagnose(stats, bounds, workers=workers())
        diagnosed.append(Diagnosed(file, stats.provenance, findings, _looked_at(stats)))
    emit(render_diagnosis(diagnosed, form))
    _gate([finding for item in diagnosed for finding in item.findings], fail_on)


def _looked_at(stats: ProbeStats) -> str:
    from condcli.analysis.diagnosis import RULE_NAMES
    from condcli.analysis.diagnosis.finding import count

    layers, activations = len(stats.layers), len(stats.activations)
    return (
        f"{count(layers, 'layer')} and {count(activations, 'activation')} for "
        f"{len(RULE_NAMES)} kinds of fault"
    )


def _gate(findings: Sequence[Finding], fail_on: str | None) -> None:
    """`typer.Exit` with code 1 where a finding is as severe as the gate, naming the rules."""
    from condcli.analysis.diagnosis import SEVERITIES
    from condcli.output.terminal import notice

    if fail_on is None:
        return
    severe = SEVERITIES[: 1 + SEVERITIES.index(fail_on)]
    held = [finding for finding in findings if finding.severity in severe]
    if held:
        rules = ", ".join(dict.fromkeys(finding.rule for finding in held))
        notice(f"{fail_on} holds for {len(held)} of {len(findings)} findings: {rules}")
        raise typer.Exit(1)

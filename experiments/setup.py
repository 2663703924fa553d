"""Where an experiment works, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all experiments of a call have in common."""

    scale: str  # smoke, cpu or full
    root: Path  # the folder of MNIST and CIFAR-10
    work: Path  # checkpoints, statistics and logs; what is there is not made again
    figures: Path  # pictures go here
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One effect that the paper states, and whether it is seen here."""

    claim: str
    paper: str  # its number, or the direction that it states
    ours: str
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure or table of the paper in the overview."""

    status: Literal["reproduced", "partly", "not reproduced", "beyond the paper"]
    text: str  # the numbers, or what is missing


def row_of(checks: Sequence[Check], text: str, *, missing: str = "") -> Row:
    """A row whose effects are these; ``missing`` is what of the paper's size was not run."""
    failed = sum(not check.holds for check in checks)
    less = [missing] if missing else []
    if failed:
        less.append(f"{failed} of {len(checks)} effects not seen")
    text = "; ".join([text, *less])
    if failed and failed == len(checks):
        return Row(status="not reproduced", text=text)
    return Row(status="partly" if less else "reproduced", text=text)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one experiment measured; all of it goes into a JSON file, and into docs/paper.md."""

    checks: tuple[Check, ...]
    rows: Mapping[str, Row]  # by the names of the module's ROWS
    numbers: Mapping[str, Any]  # as JSON has them
    figures: tuple[str, ...] = ()  # file names in Setup.figures
    remarks: str = ""  # Markdown: tables, deviations from the paper and why
    settings: Mapping[str, Any] = field(default_factory=dict)  # how much of the paper's was run

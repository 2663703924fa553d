"""One thing that a rule found: what, where, how bad, by which numbers, why, and what to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # from the worst
_LONGEST = 60

Layers = tuple[str, ...]
Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding; `layers` are in forward order, or the names of activations, or none at all."""

    rule: str = field(metadata={"title": "rule"})  # stable, kebab-case
    severity: Severity = field(metadata={"title": "severity"})
    layers: Layers = field(metadata={"title": "layers", "format": "names"})
    title: str = field(metadata={"title": "finding"})
    evidence: str = field(metadata={"title": "evidence"})  # the numbers, in words
    numbers: Numbers = field(metadata={"title": "numbers", "shown_in": ("machine",)})
    mechanism: str = field(metadata={"title": "mechanism"})  # one sentence
    source: str = field(metadata={"title": "source"})  # a section of the paper, or a citation
    remedy: str = field(metadata={"title": "remedy"})


def brief(name: str) -> str:
    """The name of a layer in a sentence: a very long one without its middle."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 :]}"


def count(number: int, noun: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"

"""What there is to show: the rows of an analysis and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from condcli.stats import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The rows that one command found in one file."""

    command: str
    row_type: type[Any]  # a row dataclass
    rows: Sequence[Any]  # instances of it
    file: Path | None = None  # none where a command lists what condcli knows
    keys: Sequence[str] = ()  # of the mappings in each row
    provenance: Provenance | None = None
    facts: Mapping[str, str] = field(default_factory=dict)  # shown before the rows
    legend: Mapping[str, str] = field(default_factory=dict)  # sign in a cell → what it means

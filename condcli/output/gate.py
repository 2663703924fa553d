"""Gates: `--fail-on EXPR` makes an exit code of what the rows say.

EXPR is NAME, NAME OP NUMBER or NAME OP NUMBER%. NAME is a column; alone, it must be a yes-or-no
one. OP is >, >=, < or <=. With %, the column's share is compared: `dying>10%` looks at
`dying_share`. No value, such as a count that is not defined, never meets a condition; of a
condition number known only from below, the bound counts for > and >=.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from condcli.analysis.condition import ConditionNumber
from condcli.errors import UsageError
from condcli.output.cells import magnitude
from condcli.output.columns import Column, column_named, columns_of
from condcli.output.report import Report

_OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_NAMED = 10  # so many rows are named, the rest counted
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_GRAMMAR = re.compile(rf"\s*(\w+)\s*(?:(>=|<=|>|<)\s*({_NUMBER})\s*(%?)\s*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition on one column."""

    expression: str
    column: Column
    sign: str | None  # None: the column itself says yes or no
    limit: float

    def holds(self, row: Any) -> bool:
        """Whether the row meets the condition."""
        value = self.column.value(row)
        if self.sign is None:
            return bool(value)
        if isinstance(value, ConditionNumber) and value.value is None and "<" in self.sign:
            return False
        size = magnitude(value)
        return size is not None and bool(_OPERATORS[self.sign](size, self.limit))

    def verdict(self, rows: Sequence[Any]) -> list[str]:
        """One line that counts the rows which meet the condition and names them, each name once.

        None when no row does.
        """
        held = [row for row in rows if self.holds(row)]
        if not held:
            return []
        names = list(dict.fromkeys(str(getattr(row, fields(row)[0].name)) for row in held))
        shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        return [f"{self.expression} holds for {len(held)} of {len(rows)} rows: {shown}"]


def parse_gate(expression: str, report: Report) -> Gate:
    """The gate that an expression describes.

    Raises `UsageError`, with the names there are, for an expression that makes no sense.
    """
    comparable = [
        column
        for column in columns_of(report, shown_in="machine")
        if column.kind in ("flag", "number")
    ]
    match = _GRAMMAR.fullmatch(expression)
    if match is None:
        example = f"{comparable[-1].name}>0"
        raise UsageError(
            f"{expression!r} is no condition",
            f"write NAME, NAME>NUMBER or NAME<NUMBER, as {example}",
        )
    name, sign, limit, percent = match.groups()
    column = column_named(f"{name}_share" if percent else name, comparable)
    if (sign is None) != (column.kind == "flag"):
        raise UsageError(
            f"{expression!r} is no condition",
            f"{name} is a number: compare it, as {name}>0"
            if sign is None
            else f"{name} says yes or no: write it alone",
        )
    number = float(limit) if sign else 0.0
    return Gate(expression, column, sign, number / 100 if percent else number)

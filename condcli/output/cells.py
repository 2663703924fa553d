"""How one value is written: for people, for JSON, for CSV, and how it compares."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from decimal import ROUND_FLOOR, Context
from functools import partial
from typing import Any

from condcli.analysis.change import Change
from condcli.analysis.condition import ConditionNumber
from condcli.analysis.eigenvalues import Rank
from condcli.output.escaping import escaped
from condcli.output.sparkline import bar, curve, histogram, sparkline

NOTHING = "–"  # no value: undefined, or not measured
_LISTED = 3  # of more names, the first and the last are shown with how many there are


def text(value: Any, form: str = "") -> str:
    """The value for people; `form` is a column's format."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return form.split("|")[not value]
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, ConditionNumber):
        return _condition_text(value)
    if isinstance(value, Rank):
        return f"{value.value}/{value.size}"
    if isinstance(value, Change):
        return text(value.ratio)
    if form in _FORMS:
        return _FORMS[form](value)
    return str(value) if isinstance(value, int) else number(value)


def number(value: float) -> str:
    """Three significant digits: 0.0123, 12.3, 1.23e-8."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def plain(value: Any) -> Any:
    """The value for JSON, where NaN and infinity do not exist: they become null."""
    if isinstance(value, ConditionNumber):
        infinite = value.value is not None and math.isinf(value.value)
        value = asdict(value) | {"infinite": infinite}
    if isinstance(value, Change):
        value = asdict(value) | {"ratio": value.ratio}
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def flat(name: str, value: Any) -> dict[str, Any]:
    """The value as CSV fields: two for a condition number and its bound, a rank and its ceiling."""
    if isinstance(value, ConditionNumber):
        return {name: value.value, f"{name}_lower_bound": value.lower_bound}
    if isinstance(value, Rank):
        return {name: value.value, f"{name}_ceiling": value.ceiling}
    if isinstance(value, Change):
        return {f"{name}_first": value.first, f"{name}_then": value.then, name: value.ratio}
    if isinstance(value, tuple | Mapping):
        return {name: json.dumps(plain(value), allow_nan=False)}
    return {name: escaped(value) if isinstance(value, str) else value}


def magnitude(value: Any) -> float | None:
    """The number to sort and compare by; a condition number's lower bound where that is all."""
    if isinstance(value, ConditionNumber):
        return value.least
    if isinstance(value, Rank):
        return value.value
    if isinstance(value, Change):
        return value.ratio
    return float(value) if isinstance(value, int | float) else None


def _listed(names: Sequence[str]) -> str:
    """The names, or `first … last (12)`."""
    if len(names) > _LISTED:
        return f"{escaped(names[0])} … {escaped(names[-1])} ({len(names)})"
    return ", ".join(map(escaped, names)) or NOTHING


def _condition_text(kappa: ConditionNumber) -> str:
    if kappa.lower_bound is not None:
        # Rounded down, so that what is printed still holds.
        bound = Context(prec=2, rounding=ROUND_FLOOR).create_decimal(kappa.lower_bound)
        return f"> {number(float(bound))}"
    return NOTHING if kappa.value is None else number(kappa.value)


# What a column's format may ask for, of values that have no form of their own.
_FORMS: Mapping[str, Callable[[Any], str]] = {
    "bar": bar,
    "curve": partial(curve, width=8),
    "histogram": histogram,
    "names": _listed,
    "percent": lambda share: f"{100 * share:.1f} %",
    "sparkline": sparkline,
    "wide curve": partial(curve, width=24),
}

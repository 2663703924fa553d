"""Units that are off, always on, or saturated (appendix of the paper, Figure A13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from condcli.analysis.diagnosis.finding import Finding, Severity, brief
from condcli.analysis.diagnosis.network import Network
from condcli.analysis.diagnosis.thresholds import Thresholds
from condcli.analysis.neurons import NeuronRow, row_of

_FEWEST_UNITS = 8
_FLAT = frozenset({"relu", "relu6"})  # of zero derivative below zero
_DEAD = (
    "A unit that is off on every row has no gradient: it stays dead, and its zero rows and columns "
    "make Σx above it and Σ∇h below it singular."
)
_LEAKING = (
    "A unit that is below zero on every row only leaks: it is nearly linear or nearly flat, and "
    "learns slowly."
)


def dying(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for ReLUs of which many units are never above zero, one for smoother functions."""
    rows = _above(network, lambda row: row.dying_share, thresholds.dying_share_warning)
    dead = [row for row in rows if row.function in _FLAT]
    if dead:
        worst = max(dead, key=lambda row: row.dying_share or 0.0)
        error = thresholds.dying_share_error
        severity: Severity = "error" if (worst.dying_share or 0.0) >= error else "warning"
        yield _never_on("dying-neurons", severity, dead, _DEAD)
    leaky = [row for row in rows if row.function not in _FLAT]
    leaky = [row for row in leaky if (row.dying_share or 0.0) >= thresholds.dying_share_error]
    if leaky:
        yield _never_on("leaking-neurons", "warning", leaky, _LEAKING)


def _never_on(rule: str, severity: Severity, rows: list[NeuronRow], mechanism: str) -> Finding:
    worst = max(rows, key=lambda row: row.dying_share or 0.0)
    share = worst.dying_share or 0.0
    counts, units = sum(row.dying or 0 for row in rows), sum(row.units for row in rows)
    return Finding(
        rule=rule,
        severity=severity,
        layers=tuple(row.activation for row in rows),
        title=f"{counts} of {units} neurons never fire",
        evidence=f"most in {brief(worst.activation)} ({worst.function}): {worst.dying} of "
        f"{worst.units} ({100 * share:.0f} %) are not above zero on any of {worst.rows} rows",
        numbers={"dying": counts, "units": units, "largest_share": share},
        mechanism=mechanism,
        source="paper §4, Figure A13",
        remedy="Lower the learning rate or warm it up; He initialisation with biases of zero; a "
        "normalisation before, or a leaky activation. Restart dead units, or prune them.",
    )


def full(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for activations of which nearly all units are above zero on every row."""
    rows = _above(network, lambda row: row.full_share, thresholds.full_share)
    if not rows:
        return
    worst = max(rows, key=lambda row: row.full_share or 0.0)
    yield Finding(
        rule="full-neurons",
        severity="warning",
        layers=tuple(row.activation for row in rows),
        title="activations that bend nothing",
        evidence=f"in {brief(worst.activation)}, {worst.full} of {worst.units} units are above "
        f"zero on all of {worst.rows} rows",
        numbers={"full": worst.full or 0, "units": worst.units},
        mechanism="A unit that is always on is linear: layers joined by such units are one.",
        source="paper §4, Figure A13",
        remedy="Look for large positive biases or inputs that are all positive; put a "
        "normalisation before the activation.",
    )


def saturated(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for sigmoids and tanhs at their asymptotes; those of the outputs may be."""
    rows = _above(network, lambda row: row.saturated_share, thresholds.saturated_share)
    last = network.maps[-1].d_out if network.maps else 0
    if rows and rows[-1].activation == network.activations[-1].name and rows[-1].units == last:
        rows = rows[:-1]
    if not rows:
        return
    worst = max(rows, key=lambda row: row.saturated_share or 0.0)
    share = worst.saturated_share or 0.0
    yield Finding(
        rule="saturated-neurons",
        severity="warning",
        layers=tuple(row.activation for row in rows),
        title="activations at their asymptotes",
        evidence=f"in {brief(worst.activation)}, {100 * share:.0f} % of units and rows are within "
        f"1 % of the {worst.function}'s range from an asymptote",
        numbers={"share": share, "units": worst.units},
        mechanism="At an asymptote the derivative is nearly zero, and so is the gradient below.",
        source="Glorot & Bengio, Understanding the difficulty of training deep feedforward neural "
        "networks, AISTATS 2010",
        remedy="Scale the weights before it down (Xavier), normalise its input, or use ReLU.",
    )


def _above(
    network: Network, share: Callable[[NeuronRow], float | None], bound: float
) -> list[NeuronRow]:
    rows = [row_of(item) for item in network.activations if item.rows]
    return [row for row in rows if row.units >= _FEWEST_UNITS if (share(row) or 0.0) >= bound]

"""Dying and full neurons: units that are off, or on, for every row of the probe set."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from condcli.stats import ActivationStats, ProbeStats

# Functions that are off below zero. The leaky ones never give a zero: for them, dying means never
# above zero and full always above zero, so that either way the unit is (nearly) linear.
RELU_LIKE = frozenset({"relu", "relu6", "leaky_relu", "gelu", "silu", "hardswish", "elu"})

_BINS = 8

Activity = tuple[int, ...]  # units by the share of rows that they are on in, in equal bins


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronRow:
    """One activation call site; a neuron is a feature, or a channel of a feature map."""

    activation: str = field(metadata={"title": "activation"})
    function: str = field(metadata={"title": "function", "drop": 2})
    units: int = field(metadata={"title": "units"})
    rows: int = field(metadata={"title": "rows"})  # seen by each unit
    activity: Activity = field(
        metadata={"title": "activity", "format": "histogram", "drop": 1, "shown_in": ("table",)}
    )
    dying: int | None = field(metadata={"title": "dying"})  # None: not defined for the function
    dying_share: float | None = field(metadata={"title": "of units", "format": "percent"})
    full: int | None = field(metadata={"title": "full"})
    full_share: float | None = field(metadata={"title": "of units", "format": "percent"})
    # of all units on all rows; sigmoid and tanh only
    saturated_share: float | None = field(
        metadata={"title": "saturated", "format": "percent", "optional": True}
    )


def neurons(stats: ProbeStats) -> list[NeuronRow]:
    """One row a call site, in forward order; dying: no row above zero, full: every row above zero.

    Both are defined for ReLU and its likes (`RELU_LIKE`), saturation for sigmoid and tanh.
    """
    return [row_of(activation) for activation in stats.activations.values()]


def row_of(activation: ActivationStats) -> NeuronRow:
    """The row of one call site."""
    dying = full = None
    if activation.function in RELU_LIKE:
        dying = int(np.count_nonzero(activation.active_count == 0))
        full = int(np.count_nonzero(activation.active_count == activation.rows))
    saturated = activation.saturated_count
    return NeuronRow(
        activation=activation.name,
        function=activation.function,
        units=activation.units,
        rows=activation.rows,
        activity=_activity(activation),
        dying=dying,
        dying_share=_share(dying, activation.units),
        full=full,
        full_share=_share(full, activation.units),
        saturated_share=_share(
            None if saturated is None else int(saturated.sum()), activation.units * activation.rows
        ),
    )


def _activity(activation: ActivationStats) -> Activity:
    """From the units that are on in no or few rows to those that are in most or all."""
    if not activation.rows:
        return ()
    counts, _ = np.histogram(activation.active_count / activation.rows, _BINS, (0, 1))
    return tuple(map(int, counts))


def _share(count: int | None, total: int) -> float | None:
    return count / total if count is not None and total else None

"""Counting how often each unit of an activation function is on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from condcli.stats import ActivationStats

# The name that torch calls → the name that is reported. Trailing underscores (in place) are cut.
ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "hardtanh": "relu6",  # with bounds 0 and 6 only: see activation_name
    "leaky_relu": "leaky_relu",
    "gelu": "gelu",
    "silu": "silu",
    "hardswish": "hardswish",
    "elu": "elu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "softplus": "softplus",
}

# Saturated: within one percent of the function's whole range from an asymptote.
SATURATED_BEYOND = {"sigmoid": (0.01, 0.99), "tanh": (-0.98, 0.98)}

CACHED_NUMBERS = 2**18  # so many are still in the cache when they are looked at again
EXACT_ROWS = 2**24  # as many ones as float32 can add up


def activation_name(function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Name of the activation that a torch call computes; None when it is none that we count."""
    name = ACTIVATIONS.get(function.rstrip("_"))
    if function.startswith("hardtanh"):
        low = args[1] if len(args) > 1 else kwargs.get("min_val")
        high = args[2] if len(args) > 2 else kwargs.get("max_val")
        return "relu6" if (low, high) == (0, 6) else None
    return name


class ActivationCount:
    """Running counts of one call site: rows on which each unit is above zero, or saturated."""

    def __init__(self, function: str, order: int, unit_axis: int, *, place: int) -> None:
        self.function = function
        self.order = order
        self.first_place = place  # of the batch that it first ran on
        self.unit_axis = unit_axis
        self._seen = 0
        self._left_out: Tensor | int = 0
        self._active: Tensor | None = None
        self._saturated: Tensor | None = None

    @torch.no_grad()
    def add(self, output: Tensor, real: Tensor | None = None) -> None:
        """Take in one output; every index but the unit axis is a row, if it is ``real``."""
        by_unit = output.detach().movedim(self.unit_axis, -1).flatten(0, -2)
        self._seen += by_unit.shape[0]
        if real is not None:
            self._left_out = self._left_out + (~real).sum()
        self._active = _plus(self._active, by_unit, _above_zero, real)
        if self.function in SATURATED_BEYOND:
            low, high = SATURATED_BEYOND[self.function]
            self._saturated = _plus(
                self._saturated, by_unit, lambda x: ((x < low) | (x > high)).float(), real
            )

    @property
    def rows(self) -> int:
        """How many rows each unit was seen on."""
        return self._seen - int(self._left_out)

    def running_sums(self) -> list[Tensor]:
        """The counts, (units,) int64: active, and saturated where that is counted."""
        return [count for count in (self._active, self._saturated) if count is not None]

    def replace(self, rows: int, sums: list[Tensor]) -> None:
        """Have seen so many rows, with these ``sums``."""
        self._seen, self._left_out = rows, 0
        self._active, self._saturated = sums[0], sums[1] if len(sums) > 1 else None

    def stats(self, name: str, *, mergeable: bool = False) -> ActivationStats:
        """The counts so far; with what merging needs, if they are to be ``mergeable``."""
        assert self._active is not None
        saturated = None if self._saturated is None else self._saturated.cpu().numpy()
        return ActivationStats(
            name=name,
            function=self.function,
            order=self.order,
            units=len(self._active),
            rows=self.rows,
            active_count=self._active.cpu().numpy(),
            saturated_count=saturated,
            first_place=self.first_place if mergeable else None,
        )


def _above_zero(rows: Tensor) -> Tensor:
    """One where the number is above zero, else zero; comparisons themselves take far longer."""
    return rows.sign().clamp_(min=0)


def _plus(
    count: Tensor | None, rows: Tensor, ones: Callable[[Tensor], Tensor], real: Tensor | None
) -> Tensor:
    """The count so far, and how many of each unit's rows become ``ones``.

    Added up as float products, exact for as many rows, in a third of the time of integer sums.
    """
    most = CACHED_NUMBERS // max(1, rows.shape[1]) if rows.device.type == "cpu" else EXACT_ROWS
    known = None if real is None else real.flatten().split(max(1, most))
    for i, piece in enumerate(rows.split(max(1, most))):
        hits = ones(piece).float()
        weights = hits.new_ones(1, len(hits)) if known is None else known[i].float().unsqueeze(0)
        found = (weights @ hits)[0].long()
        count = found if count is None else count + found
    assert count is not None
    return count

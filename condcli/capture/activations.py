"""Counting how often each unit of an activation function is on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from condcli.capture.counting import count
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
        output = output.detach()
        self._seen += output.numel() // max(1, output.shape[self.unit_axis])
        if real is not None:
            self._left_out = self._left_out + (~real).sum()
        active = count(output, self.unit_axis, lambda x: x > 0, real)
        self._active = active if self._active is None else self._active + active
        if self.function in SATURATED_BEYOND:
            low, high = SATURATED_BEYOND[self.function]
            beyond = count(output, self.unit_axis, lambda x: (x < low) | (x > high), real)
            self._saturated = beyond if self._saturated is None else self._saturated + beyond

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

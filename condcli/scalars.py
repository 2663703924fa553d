"""The numbers of one statistics file as scalars, for TensorBoard and what has its methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from math import isfinite
from pathlib import Path
from typing import Protocol

from condcli.analysis.condition import ConditionNumber
from condcli.analysis.steps import Numbered
from condcli.analysis.trajectory import LayerPoint, Point, point_of

QUANTITIES = [field.name for field in fields(LayerPoint) if "float | None" in str(field.type)]
CONDITIONS = [field.name for field in fields(LayerPoint) if "ConditionNumber" in str(field.type)]


class Writer(Protocol):
    """What a SummaryWriter can do."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object:
        """Take in one number."""


def write_scalars(writer: Writer, path: Path, step: int) -> None:
    """Give the writer ``QUANTITY/LAYER`` for all that is known and finite in a file."""
    point = point_of(Numbered(path=path, step=step, step_from="file"), percent=80)
    for tag, value in scalars(point):
        if isfinite(value):
            writer.add_scalar(tag, value, step)


def scalars(point: Point) -> Iterator[tuple[str, float]]:
    """λ_max, κ_0.8, domination and norms of each layer, dying and full units; those known."""
    for name, layer in point.layers.items():
        for quantity in QUANTITIES:
            value: float | None = getattr(layer, quantity)
            if value is not None:
                yield f"{quantity}/{name}", value
        for quantity in CONDITIONS:
            kappa: ConditionNumber = getattr(layer, quantity)
            if kappa.value is not None:
                yield f"{quantity}/{name}", kappa.value
    for name, row in point.activations.items():
        counts = {"dying": row.dying_share, "full": row.full_share}
        for quantity, share in counts.items():
            if share is not None:
                yield f"{quantity}/{name}", share

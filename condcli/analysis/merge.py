"""Shards of one probe set become the statistics of the whole.

Moments are means over rows, and ∂L/∂W is a mean over loss terms: weighted by these, they add up.
One layer at a time is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from condcli.analysis import shards as provenances
from condcli.analysis.factors import stacked
from condcli.analysis.singular_values import singular_values
from condcli.errors import InputError
from condcli.stats import (
    DID_NOT_RUN,
    SAW_NO_ROWS,
    ActivationStats,
    FloatArray,
    LayerStats,
    ProbeStats,
    SkippedParameter,
)

NOT_MERGED = "shards cannot tell it: that takes all examples in one process"

Record = TypeVar("Record", bound=LayerStats | ActivationStats)


def merge(shards: Mapping[str, ProbeStats], *, command: str = "condcli.merge") -> ProbeStats:
    """What one process would have measured; ``shards`` are all of them, by their files' names.

    Equal up to rounding, but for what no shard can tell: λ_max of the second moment of the
    per-example weight gradients is left out. Raises InputError where shards do not belong
    together, naming the files and the field, and where one is missing.
    """
    provenance = provenances.whole(
        {name: stats.provenance for name, stats in shards.items()}, command=command
    )
    parts = list(shards.values())
    layers = _places([stats.layers for stats in parts])
    skipped = _skipped(parts, layers)
    layers = {name: place for name, place in layers.items() if name not in skipped}
    counted = sum(place.parameters for place in layers.values())
    counted += sum(item.parameters for item in skipped.values())
    if counted != provenance.parameters:
        raise InputError(
            f"{', '.join(shards)}: the layers that ran have {counted} of the model's "
            f"{provenance.parameters} parameters, as different ones ran in each",
            "probe it in one process, or with torchrun",
        )

    def layer(name: str) -> LayerStats:
        having = [stats for stats in parts if name in stats.layers]
        return _layer(
            [stats.layers[name] for stats in having],
            [stats.provenance.loss_terms for stats in having],
            terms=provenance.loss_terms,
            order=layers[name].order,
        )

    activations = _places([stats.activations for stats in parts])

    def activation(name: str) -> ActivationStats:
        having = [stats.activations[name] for stats in parts if name in stats.activations]
        return _activation(having, order=activations[name].order)

    return ProbeStats(
        provenance=provenance,
        layers=_Merged(layers, layer),
        activations=_Merged(activations, activation),
        skipped=skipped,
    )


@dataclass(frozen=True)
class _Place:
    """A record's place in the forward pass of the whole."""

    order: int
    parameters: int


class _Merged(Mapping[str, Record], Generic[Record]):
    """Records that are made when they are asked for."""

    def __init__(self, names: Mapping[str, Any], make: Callable[[str], Record]) -> None:
        self._names = names
        self._make = make

    def __getitem__(self, name: str) -> Record:
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _places(sections: Sequence[Mapping[str, Record]]) -> dict[str, _Place]:
    """The records of all shards in the order in which one process would have met them.

    That is the order of the batches that they first ran on; a batch is in one shard only.
    """
    earliest: dict[str, tuple[int, int]] = {}
    parameters: dict[str, int] = {}
    for records in sections:
        for name, record in records.items():
            first = (record.first_place or 0, record.order)
            earliest[name] = min(first, earliest.get(name, first))
            parameters.setdefault(name, getattr(record, "parameters", 0))
    in_order = sorted(earliest, key=earliest.__getitem__)
    return {name: _Place(order, parameters[name]) for order, name in enumerate(in_order)}


def _skipped(
    parts: Sequence[ProbeStats], layers: Mapping[str, _Place]
) -> dict[str, SkippedParameter]:
    """What one process would have skipped: what no shard has, and what one shard has in part."""
    found: dict[str, SkippedParameter] = {}
    for name in dict.fromkeys(name for stats in parts for name in stats.skipped):
        items = [stats.skipped[name] for stats in parts if name in stats.skipped]
        partly = [item for item in items if not _is_idle(item)]
        if partly or (len(items) == len(parts) and name not in layers):
            found[name] = (partly or items)[0]
    return found


def _is_idle(item: SkippedParameter) -> bool:
    """Whether it is skipped only because no batch of its shard needed it."""
    return item.reason.endswith((DID_NOT_RUN, SAW_NO_ROWS))


def _layer(
    parts: Sequence[LayerStats], part_terms: Sequence[int], *, terms: int, order: int
) -> LayerStats:
    first = parts[0]
    input_rows, rows = [p.input_rows for p in parts], [p.rows for p in parts]
    weight_grad = _sum([_weight_grad(part) for part in parts], part_terms, terms)
    return replace(
        first,
        order=order,
        rows=sum(rows),
        input_rows=sum(input_rows),
        calls=round(float(np.average([part.calls for part in parts], weights=part_terms))),
        positions=sum(rows) / terms,
        **_side("input", parts, input_rows),
        **_side("grad", parts, rows),
        weight_grad_singular_values=singular_values(weight_grad, f"layer {first.name!r}: ∂L/∂W"),
        weight_grad_norm=float(np.linalg.norm(weight_grad)),
        weight_grad_moment_lambda_max=None,
        weight_grad_moment_note=first.weight_grad_moment_note or NOT_MERGED,
        weight_grad=None,
        first_place=None,
        nonfinite="; ".join(dict.fromkeys(p.nonfinite for p in parts if p.nonfinite)) or None,
    )


def _side(side: str, parts: Sequence[LayerStats], rows: Sequence[int]) -> dict[str, Any]:
    """Mean and moment of one side, or the factor that stands for that."""
    total, every = sum(rows), {name: [getattr(p, name) for p in parts] for name in _fields(side)}
    mean, moment, factor, error, trace = _fields(side)
    merged: dict[str, Any] = {mean: _sum(every[mean], rows, total)}
    if all(each is not None for each in every[moment]):
        return merged | {moment: _sum(every[moment], rows, total)}
    if any(each is not None for each in every[moment]):
        raise InputError(
            f"layer {parts[0].name!r}: not all shards have its {moment}", "probe all shards alike"
        )
    weights = [each / total for each in rows]
    merged[factor], merged[error] = stacked(every[factor], every[error], weights)
    return merged | {trace: float(np.dot(every[trace], weights))}


def _fields(side: str) -> list[str]:
    return [f"{side}_{part}" for part in ("mean", "moment", "factor", "error", "trace")]


def _weight_grad(layer: LayerStats) -> FloatArray:
    if layer.weight_grad is None:
        raise InputError(f"layer {layer.name!r} has no weight_grad", "probe the shard again")
    if not layer.nonfinite and not np.isfinite(layer.weight_grad).all():
        raise InputError(f"layer {layer.name!r}: its ∂L/∂W is not finite", "probe the shard again")
    return layer.weight_grad


def _activation(parts: Sequence[ActivationStats], *, order: int) -> ActivationStats:
    saturated = [part.saturated_count for part in parts if part.saturated_count is not None]
    return replace(
        parts[0],
        order=order,
        rows=sum(part.rows for part in parts),
        active_count=np.sum([part.active_count for part in parts], axis=0),
        saturated_count=np.sum(saturated, axis=0) if saturated else None,
        first_place=None,
    )


def _sum(arrays: Sequence[FloatArray], weights: Sequence[int], total: int) -> FloatArray:
    """Σ weight · array / total, in float64."""
    summed = np.zeros(arrays[0].shape)
    for array, weight in zip(arrays, weights, strict=True):
        summed += array.astype(np.float64) * (weight / total)
    return summed

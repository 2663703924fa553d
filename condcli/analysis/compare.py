"""Two statistics files side by side: what is how many times as large in the second, by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from condcli.analysis.change import Change
from condcli.analysis.condition import ConditionNumber
from condcli.analysis.domination import domination
from condcli.analysis.matching import TOGETHER, match_of, matched
from condcli.analysis.spectrum import spectrum
from condcli.stats import LayerStats, ProbeStats

PERCENT = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNumbers:
    """What is compared of one layer; None where it is not known."""

    shape: tuple[object, ...]  # layers that differ here are matched by name only
    lambda_max_input: float | None
    lambda_max_grad: float | None
    kappa_input: float | None  # κ80
    kappa_grad: float | None
    domination_ratio: float | None
    weight_norm: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRow:
    """One layer in both files, or in one of them."""

    layer: str = field(metadata={"title": "layer"})  # the name in the first file that has it
    most: str = field(metadata={"title": "changed most"})  # as its title below
    first: float | None = field(metadata={"title": "from"})
    then: float | None = field(metadata={"title": "to"})
    lambda_max_input: Change = field(metadata={"title": "λ(Σx)", "drop": 2})
    lambda_max_grad: Change = field(metadata={"title": "λ(Σ∇h)", "drop": 1})
    kappa_input: Change = field(metadata={"title": "κ80(Σx)", "drop": 5})
    kappa_grad: Change = field(metadata={"title": "κ80(Σ∇h)", "drop": 5})
    domination_ratio: Change = field(metadata={"title": "σ(∂W)/σ(W)", "drop": 3})
    weight_norm: Change = field(metadata={"title": "‖W‖F", "drop": 4})
    match: str = field(metadata={"title": "match", "shown_in": ("machine",)})  # name, shape, alone
    # the layer's name in the second file; empty where it is not there
    other: str = field(metadata={"title": "other", "shown_in": ("machine",)})
    file: str = field(default="", metadata={"title": "file", "shown_in": ("machine",)})


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOneOf(CompareRow):
    """A row where several files are compared with the first."""

    file: str = field(default="", metadata={"title": "file"})


_TITLES = {
    "lambda_max_input": "λ(Σx)",
    "lambda_max_grad": "λ(Σ∇h)",
    "kappa_input": "κ80(Σx)",
    "kappa_grad": "κ80(Σ∇h)",
    "domination_ratio": "σ(∂W)/σ(W)",
    "weight_norm": "‖W‖F",
}


def compare(first: ProbeStats, then: ProbeStats, *, workers: int = 1) -> list[CompareRow]:
    """One row a layer, what changed most first; layers of one file only come last.

    Layers are matched by name; those left, in forward order by kind and shape. Raises what
    `spectrum` and `domination` do.
    """
    return side_by_side(*(numbers_of(stats, workers=workers) for stats in (first, then)))


def numbers_of(stats: ProbeStats, *, workers: int = 1) -> dict[str, LayerNumbers]:
    """What is compared of every layer, in forward order."""
    weights = {row.layer: row for row in domination(stats)}
    return {
        row.layer: LayerNumbers(
            shape=_shape(stats.layers[row.layer]),
            lambda_max_input=row.lambda_max_input,
            lambda_max_grad=row.lambda_max_grad,
            kappa_input=_kappa(row.kappa_input),
            kappa_grad=_kappa(row.kappa_grad),
            domination_ratio=weights[row.layer].ratio,
            weight_norm=weights[row.layer].weight_norm,
        )
        for row in spectrum(stats, percent=[PERCENT], workers=workers)
    }


def side_by_side(
    first: Mapping[str, LayerNumbers], then: Mapping[str, LayerNumbers]
) -> list[CompareRow]:
    """The rows of `compare`, of what `numbers_of` gave for each."""
    rows = [_row(a, b, first, then) for a, b in matched(first, then)]
    return sorted(rows, key=lambda row: (row.match not in TOGETHER, -_decades(row)))


def _shape(layer: LayerStats) -> tuple[object, ...]:
    return (layer.kind, layer.d_in, layer.d_out, layer.groups, layer.kernel_size)


def _kappa(kappas: Mapping[str, ConditionNumber]) -> float | None:
    """κ80 where it is known: a lower bound, or infinity, makes no ratio."""
    (found,) = kappas.values()
    return None if found.value is None or math.isinf(found.value) else found.value


def _row(
    a: str | None,
    b: str | None,
    first: Mapping[str, LayerNumbers],
    then: Mapping[str, LayerNumbers],
) -> CompareRow:
    old, new = first[a] if a is not None else None, then[b] if b is not None else None
    changes = {name: Change(first=_of(old, name), then=_of(new, name)) for name in _TITLES}
    most = max(changes, key=lambda name: changes[name].decades)
    changed = changes[most] if changes[most].decades > 0 else None
    return CompareRow(
        layer=a if a is not None else b or "",
        most=_TITLES[most] if changed else "",
        first=changed.first if changed else None,
        then=changed.then if changed else None,
        lambda_max_input=changes["lambda_max_input"],
        lambda_max_grad=changes["lambda_max_grad"],
        kappa_input=changes["kappa_input"],
        kappa_grad=changes["kappa_grad"],
        domination_ratio=changes["domination_ratio"],
        weight_norm=changes["weight_norm"],
        match=match_of(a, b),
        other=b or "",
    )


def _of(numbers: LayerNumbers | None, name: str) -> float | None:
    value: float | None = None if numbers is None else getattr(numbers, name)
    return value


def _decades(row: CompareRow) -> float:
    changes: list[Change] = [getattr(row, name) for name in _TITLES]
    return max(change.decades for change in changes)

"""Whether a statistics file can be true: its form, its checksums, and the laws of its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from condcli.analysis.laws import LAWS, require
from condcli.errors import InputError
from condcli.stats import ActivationStats, LayerStats, ProbeStats
from condcli.statsfile import check_kept, check_links, kept_spectra

_THINGS = {
    "form and checksums": "parts",
    **{law: things for law, (things, _) in LAWS.items()},
    "counts of activations": "units",
    "orders and parameters": "parts",
    "kept eigenvalues": "layers",
}
_FLAGGED = "flagged as not finite, so not looked at"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRow:
    """One property that holds."""

    holds: str
    examined: int = field(metadata={"title": "of"})
    things: str = field(metadata={"title": ""})


def verify(stats: ProbeStats) -> list[VerifyRow]:
    """A row a property of statistics that were read from a file; `InputError` naming the first part
    that lacks one.

    One layer at a time is in memory.
    """
    check_links(stats)
    examined: Counter[str] = Counter()
    require(stats.provenance.examples > 0, f"examples is {stats.provenance.examples}")
    require(stats.provenance.loss_terms > 0, f"loss_terms is {stats.provenance.loss_terms}")
    parameters = sum(item.parameters for item in stats.skipped.values())
    layer_orders, activation_orders = {}, {}
    for layer in stats.layers.values():
        examined += _laws(layer, stats)
        layer_orders[layer.name] = layer.order
        parameters += layer.parameters
    for activation in stats.activations.values():
        examined["counts of activations"] += _units(activation)
        activation_orders[activation.name] = activation.order
    _require_distinct(layer_orders, "layers")
    _require_distinct(activation_orders, "activations")
    whole = stats.provenance.parameters
    require(parameters == whole, f"its parts have {parameters} of the model's {whole} parameters")
    examined["kept eigenvalues"] = check_kept(stats)
    parts = len(stats.layers) + len(stats.activations) + len(stats.skipped)
    examined["form and checksums"] = examined["orders and parameters"] = parts
    rows = [
        VerifyRow(holds=name, examined=examined[name], things=things)
        for name, things in _THINGS.items()
    ]
    if flagged := examined[_FLAGGED]:
        rows.append(VerifyRow(holds=_FLAGGED, examined=flagged, things="layers"))
    return rows


def _laws(layer: LayerStats, stats: ProbeStats) -> Counter[str]:
    """How many things of one layer each law was tried on."""
    if layer.nonfinite:  # it says so itself, and NaN obeys none
        return Counter({_FLAGGED: 1})
    try:
        with np.errstate(over="ignore"):  # what overflows breaks a law, and is told as that
            examined = {law: check(layer, stats.provenance) for law, (_, check) in LAWS.items()}
            _check_traces(layer, stats)
    except InputError as error:
        raise InputError(f"layer {layer.name!r}: {error.message}", error.remedy) from error
    return Counter(examined)


def _check_traces(layer: LayerStats, stats: ProbeStats) -> None:
    """The eigenvalues that the file keeps of a layer sum to the traces of its moments."""
    kept = kept_spectra(stats, layer.name)
    for name in ("input", "grad") if kept else ():
        values, moment = getattr(kept, f"{name}_eigenvalues"), getattr(layer, f"{name}_moment")
        if moment is None:
            trace = np.linalg.norm(getattr(layer, f"{name}_factor").astype(np.float64)) ** 2
        else:
            trace = moment.sum() if moment.ndim == 1 else moment.trace(axis1=-2, axis2=-1).sum()
        require(
            abs(values.sum() - trace) <= 1e-3 * trace,
            f"the kept {name}_eigenvalues sum to {values.sum():.6g}, not to the trace {trace:.6g}",
        )


def _units(activation: ActivationStats) -> int:
    """Look at an activation's counts; how many units it has."""
    place = f"activation {activation.name!r}"
    require(activation.rows > 0, f"{place}: rows is {activation.rows}")
    for name in ("active_count", "saturated_count"):
        count = getattr(activation, name)
        if count is not None:
            within = (count >= 0).all() and (count <= activation.rows).all()
            require(within, f"{place}: {name} is not within its {activation.rows} rows")
    return activation.units


def _require_distinct(orders: Mapping[str, int], what: str) -> None:
    taken: dict[int, str] = {}
    for name, order in orders.items():
        other = taken.setdefault(order, name)
        require(other == name, f"the {what} {other!r} and {name!r} have the same order, {order}")

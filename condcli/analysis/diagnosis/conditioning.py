"""Ill-conditioned layers, and what makes them so (§4 of the paper, Figure 5).

κ50, for it asks only half of the directions to be there. Σx is ill-conditioned above a bound, or
far above the median of its network. Σ∇h is so in many a sound network, since few outputs give few
directions: there, only what silent units make of it counts, and what is far above the median.
The cause is the first that explains it: fewer rows than units; silent units, without which κ50
would be below the bound; the mean, where it is most of λ_max and without it κ50 would fall to a
third; else that the units say nearly the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from condcli.analysis.condition import condition_number, place
from condcli.analysis.diagnosis.finding import Finding, brief, count
from condcli.analysis.diagnosis.network import Layer, Network
from condcli.analysis.diagnosis.thresholds import Thresholds
from condcli.analysis.eigenvalues import Spectrum

PERCENT = 50.0
_LEAST_APART = 1e3  # however far from the median, a κ50 below is none to speak of
_CENTRED = 3.0  # how many times lower κ50 has to be without the mean
Cause = Literal["rows", "silent", "mean", "correlated"]
Side = Literal["input", "gradient"]
SIDES: tuple[Side, ...] = ("input", "gradient")
_MATRICES: dict[Side, str] = {"input": "Σx", "gradient": "Σ∇h"}
_SOURCE = "paper §4, Figure 5; Property 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ill:
    """One layer, its κ50, and what it would be without the cause."""

    layer: Layer
    kappa: float
    cause: Cause
    without: float
    rows: int
    size: int  # units, of one group


_BECAUSE: dict[Cause, str] = {
    "rows": "fewer rows than units",
    "silent": "silent units",
    "mean": "the mean of the input",
    "correlated": "units that say nearly the same",
}
_MECHANISMS: dict[Cause, str] = {
    "rows": "A mean over R rows has at most R directions: the rest are of zero curvature.",
    "silent": "A unit that is zero on every row is a row and column of zeros: no curvature.",
    "mean": "Σx = C + m mᵀ: a mean far from zero is one steep direction, which caps the learning "
    "rate that all others must do with.",
    "correlated": "Where units say nearly the same, a few directions are steep and most are flat: "
    "the rate that the steep ones bear leaves the flat ones where they are.",
}
_REMEDIES: dict[Cause, str] = {
    "rows": "Probe more examples (--samples) to know more; this is no fault of the network.",
    "silent": "See the units that never fire: lower the rate, He initialisation, a normalisation.",
    "mean": "Centre the input: batch or layer normalisation before these layers.",
    "correlated": "Batch normalisation after each linear map, a wider layer, or a preconditioned "
    "optimiser (K-FAC, Shampoo).",
}


def ill_conditioned(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding each for Σ_x and Σ_∇h of ill-conditioned layers, and one for too few rows."""
    for side in SIDES:
        kappas = {layer.name: _kappa(_spectrum(layer, side)) for layer in network.maps}
        known = [kappa for kappa in kappas.values() if kappa is not None]
        usual = median(known) if known else 1.0
        apart = max(thresholds.kappa_apart * usual, _LEAST_APART)
        found = [
            _explained(layer, side, kappa, min(thresholds.kappa, apart), thresholds)
            for layer in network.maps
            if (kappa := kappas[layer.name]) is not None and kappa >= min(thresholds.kappa, apart)
        ]
        unknown = [ill for ill in found if ill.cause == "rows"]
        ills = [
            ill
            for ill in found
            if ill.cause in ("silent", "mean")
            or (ill.cause == "correlated" and (side == "input" or ill.kappa >= apart))
        ]
        if ills:
            yield _ill_conditioned(side, ills, usual)
        if unknown:
            yield _too_few_rows(side, unknown)


def _spectrum(layer: Layer, side: Side) -> Spectrum:
    return layer.input if side == "input" else layer.grad


def _kappa(spectrum: Spectrum) -> float | None:
    """κ50, or the bound that it is above; None where it is not defined."""
    if not np.isfinite(spectrum.values).all():
        return None
    found = condition_number(spectrum, PERCENT)
    return found.lower_bound if found.value is None else found.value


def _explained(
    layer: Layer, side: Side, kappa: float, bound: float, thresholds: Thresholds
) -> _Ill:
    spectrum = _spectrum(layer, side)
    rows = layer.input_rows if side == "input" else layer.gradients
    seen = layer.features
    silent = layer.silent_outputs if side == "gradient" else seen.silent if seen else 0
    without = _without_silent(spectrum, silent)
    cause: Cause = "correlated"
    size = spectrum.values.shape[1]
    if rows < size:
        cause = "rows"
    elif silent and without < bound:
        cause = "silent"
    elif side == "input" and seen is not None:
        centred = _centred(spectrum, seen.mean_share_of_largest)
        most = seen.mean_share_of_largest >= thresholds.mean_share_of_largest
        if most and math.isfinite(centred) and kappa >= _CENTRED * centred:
            cause, without = "mean", centred
    return _Ill(layer=layer, kappa=kappa, cause=cause, without=without, rows=rows, size=size)


def _without_silent(spectrum: Spectrum, silent: int) -> float:
    """κ50 of the units that are not zero on every row: the same eigenvalues without those zeros."""
    values = np.sort(spectrum.upper, axis=None)[::-1]
    alive = values[: max(1, values.size - silent)]
    least = float(alive[place(PERCENT, alive.size) - 1])
    return spectrum.largest / least if least else math.inf


def _centred(spectrum: Spectrum, share: float) -> float:
    """The least that κ50 of the covariance can be: its λ_max is at least λ_2 and λ_1 - ‖m‖²."""
    values = np.sort(spectrum.upper, axis=None)[::-1]
    least = float(values[place(PERCENT, values.size) - 1])
    largest = max(float(values[1]) if values.size > 1 else 0.0, (1 - share) * float(values[0]))
    return largest / least if least else math.inf


def _ill_conditioned(side: Side, found: list[_Ill], usual: float) -> Finding:
    worst = max(found, key=lambda ill: ill.kappa)
    causes = Counter(ill.cause for ill in found)
    (main, _), *_ = causes.most_common()
    because = ", ".join(f"{_BECAUSE[cause]} in {times}" for cause, times in causes.most_common())
    without = "" if worst.cause == "correlated" else f" ({_text(worst.without)} without it)"
    matrix = _MATRICES[side]
    return Finding(
        rule=f"ill-conditioned-{side}",
        severity="warning",
        layers=tuple(ill.layer.name for ill in found),
        title=f"κ50({matrix}) is large in {count(len(found), 'layer')}",
        evidence=f"up to {_text(worst.kappa)} in {brief(worst.layer.name)}, by "
        f"{_BECAUSE[worst.cause]}{without}; the network's median is {_text(usual)}. Of the layers: "
        f"{because}",
        numbers={"kappa": worst.kappa, "median_kappa": usual, "layers": len(found)} | causes,
        mechanism=_MECHANISMS[main],
        source=_SOURCE,
        remedy=_REMEDIES[main],
    )


def _too_few_rows(side: Side, found: list[_Ill]) -> Finding:
    worst = max(found, key=lambda ill: ill.size / max(1, ill.rows))
    return Finding(
        rule=f"too-few-rows-{side}",
        severity="note",
        layers=tuple(ill.layer.name for ill in found),
        title=f"κ50({_MATRICES[side]}) of {count(len(found), 'layer')} is not known",
        evidence=f"{brief(worst.layer.name)} saw {worst.rows} rows of {worst.size} units",
        numbers={"rows": worst.rows, "units": worst.size, "layers": len(found)},
        mechanism=_MECHANISMS["rows"],
        source=_SOURCE,
        remedy=_REMEDIES["rows"],
    )


def _text(kappa: float) -> str:
    return "∞" if math.isinf(kappa) else f"{kappa:.2g}"

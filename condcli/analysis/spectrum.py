"""The spectra of Σ_x, Σ_∇h and the sub-FIM F = Σ_x ⊗ Σ_∇h of every layer.

In the conv view `channels` the gradients of a layer are scaled as the paper's code does, as if the
loss were a mean over all locations: the reported Σ_∇h is T² times the stored second moment. In
`patches`, F = T · Σ_x ⊗ Σ_∇h (Grosse & Martens 2016). Condition numbers are the same either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from condcli.analysis.condition import (
    ConditionNumber,
    condition_number,
    kronecker_condition_number,
)
from condcli.analysis.defaults import PERCENTAGES
from condcli.analysis.eigenvalues import Rank, Spectrum, spectrum_of
from condcli.analysis.selection import selected_layers
from condcli.errors import UsageError
from condcli.stats import LayerStats, ProbeStats

_PROFILE_POINTS = 8

Kappas = Mapping[str, ConditionNumber]  # by percentage: {"100": κ_1, "80": κ_0.8, …}
Profile = tuple[float | None, ...]  # log10(λ_k / λ_1) at evenly spaced k; None: not resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumRow:
    """The spectra of one layer; without a suffix a number is the sub-FIM's."""

    layer: str = field(metadata={"title": "layer"})
    kind: str = field(metadata={"title": "kind", "drop": 9})
    rows: int = field(metadata={"title": "rows", "drop": 5})
    d_in: int = field(metadata={"title": "d_in", "drop": 8})
    d_out: int = field(metadata={"title": "d_out", "drop": 8})
    lambda_max_input: float = field(metadata={"title": "λ(Σx)"})
    lambda_max_grad: float = field(metadata={"title": "λ(Σ∇h)"})
    lambda_max: float = field(metadata={"title": "λ(F)"})
    kappa_input: Kappas = field(metadata={"title": "κ{}(Σx)", "drop": 1, "drop_step": 3})
    kappa_grad: Kappas = field(metadata={"title": "κ{}(Σ∇h)", "drop": 1, "drop_step": 3})
    kappa: Kappas = field(metadata={"title": "κ{}(F)", "drop": 1, "drop_step": 3})
    rank_input: Rank = field(metadata={"title": "rk(Σx)", "drop": 2})
    rank_grad: Rank = field(metadata={"title": "rk(Σ∇h)", "drop": 2})
    effective_rank_input: float | None = field(metadata={"title": "eff(Σx)", "drop": 6})
    effective_rank_grad: float | None = field(metadata={"title": "eff(Σ∇h)", "drop": 6})
    profile_input: Profile = field(
        metadata={"title": "Σx", "format": "sparkline", "drop": 3, "shown_in": ("table",)}
    )
    profile_grad: Profile = field(
        metadata={"title": "Σ∇h", "format": "sparkline", "drop": 3, "shown_in": ("table",)}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EigenvalueRow:
    """One eigenvalue of one layer's Σ_x or Σ_∇h."""

    layer: str = field(metadata={"title": "layer"})
    matrix: str = field(metadata={"title": "matrix"})  # input or grad
    group: int = field(metadata={"title": "group"})
    index: int = field(metadata={"title": "index"})  # from 1, descending
    eigenvalue: float = field(metadata={"title": "eigenvalue"})
    resolved: bool = field(metadata={"title": "above noise", "format": "yes|no"})


def spectrum(
    stats: ProbeStats, *, percent: Sequence[float] = PERCENTAGES, layers: str | None = None
) -> list[SpectrumRow]:
    """One row a layer, in forward order, with κ_p for each percentage p in (0, 100].

    `layers` is a glob on the layers' names. Raises `UsageError` for a percentage out of range or
    given twice and for a glob that matches nothing, and `InputError` naming the layer whose matrix
    is no second moment.
    """
    wrong = [value for value in percent if not 0 < value <= 100]
    if wrong or not percent:
        raise UsageError(
            f"percentage {wrong[0]:g} is out of range" if wrong else "no percentage is given",
            "choose from above 0 up to 100",
        )
    if len(set(percent)) < len(percent):
        raise UsageError("a percentage is given twice", "pass each once")
    conv = stats.provenance.conv
    return [
        _row(layer, *_spectra(layer, stats), percent, layer.positions if conv == "patches" else 1)
        for layer in selected_layers(stats, layers)
    ]


def key(percent: float) -> str:
    """What stands for a percentage in a row's κ: 100, 99.5; another one for every other number."""
    return str(float(percent)).removesuffix(".0")


def eigenvalues(stats: ProbeStats, *, layers: str | None = None) -> list[EigenvalueRow]:
    """Every eigenvalue of Σ_x and Σ_∇h of every layer; errors as in `spectrum`."""
    return [
        EigenvalueRow(
            layer=layer.name,
            matrix=matrix,
            group=group,
            index=index + 1,
            eigenvalue=float(found.values[group, index]),
            resolved=bool(found.resolved[group, index]),
        )
        for layer in selected_layers(stats, layers)
        for matrix, found in zip(("input", "grad"), _spectra(layer, stats), strict=True)
        for group, index in np.ndindex(found.values.shape)
    ]


def _spectra(layer: LayerStats, stats: ProbeStats) -> tuple[Spectrum, Spectrum]:
    """The spectra of Σ_x and of Σ_∇h in the reported scale."""
    eps = float(np.finfo(stats.provenance.dtype).eps)
    scale = layer.positions**2 if stats.provenance.conv == "channels" else 1.0
    return (
        spectrum_of(
            layer.input_moment,
            rows=layer.input_rows,
            eps=eps,
            name=f"layer {layer.name!r}: its input moment",
        ),
        spectrum_of(
            layer.grad_moment,
            rows=layer.rows,
            eps=eps,
            name=f"layer {layer.name!r}: its gradient moment",
        ).scaled(scale),
    )


def _row(
    layer: LayerStats, x: Spectrum, grad: Spectrum, percent: Sequence[float], scale: float
) -> SpectrumRow:
    return SpectrumRow(
        layer=layer.name,
        kind=layer.kind,
        rows=layer.rows,
        d_in=layer.d_in,
        d_out=layer.d_out,
        lambda_max_input=x.largest,
        lambda_max_grad=grad.largest,
        lambda_max=scale * float((x.values[:, 0] * grad.values[:, 0]).max()),
        kappa_input={key(p): condition_number(x, p) for p in percent},
        kappa_grad={key(p): condition_number(grad, p) for p in percent},
        kappa={key(p): kronecker_condition_number(x, grad, p) for p in percent},
        rank_input=x.rank,
        rank_grad=grad.rank,
        effective_rank_input=x.effective_rank,
        effective_rank_grad=grad.effective_rank,
        profile_input=tuple(_profile(x)),
        profile_grad=tuple(_profile(grad)),
    )


def _profile(found: Spectrum) -> Iterator[float | None]:
    values = np.sort(found.lower, axis=None)[::-1]
    for k in np.linspace(0, values.size - 1, min(values.size, _PROFILE_POINTS)).round().astype(int):
        yield float(np.log10(values[k] / values[0])) if values[k] > 0 else None

"""The spectra of Σ_x, Σ_∇h and the sub-FIM F = Σ_x ⊗ Σ_∇h of every layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from condcli.analysis.condition import (
    ConditionNumber,
    condition_number,
    kronecker_condition_number,
)
from condcli.analysis.decomposition import layer_spectra
from condcli.analysis.defaults import PERCENTAGES
from condcli.analysis.eigenvalues import Rank, Spectrum
from condcli.analysis.scaling import Factors, error_of, known, reported
from condcli.analysis.solvers import Solve
from condcli.errors import UsageError
from condcli.stats import LayerSpectra, ProbeStats

_PROFILE_POINTS = 8

Kappas = Mapping[str, ConditionNumber]  # by percentage: {"100": κ_1, "80": κ_0.8, …}
Keep = Callable[[Sequence[LayerSpectra]], None]
Profile = tuple[float | None, ...]  # log10(λ_k / λ_1) at evenly spaced k; None: not resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumRow:
    """The spectra of one layer; without a suffix a number is the sub-FIM's."""

    layer: str = field(metadata={"title": "layer"})
    kind: str = field(metadata={"title": "kind", "drop": 9})
    rows: int = field(metadata={"title": "rows", "drop": 5})
    d_in: int = field(metadata={"title": "d_in", "drop": 8})
    d_out: int = field(metadata={"title": "d_out", "drop": 8})
    # None where the matrix is not finite
    lambda_max_input: float | None = field(metadata={"title": "λ(Σx)"})
    lambda_max_grad: float | None = field(metadata={"title": "λ(Σ∇h)"})
    lambda_max: float | None = field(metadata={"title": "λ(F)"})
    # by how much the eigenvalues of a layer wider than max_dim may be off; None: it is not
    error_input: float | None = field(metadata={"title": "±λ(Σx)", "optional": True})
    error_grad: float | None = field(metadata={"title": "±λ(Σ∇h)", "optional": True})
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
    # what is to be known of how they were found; mostly nothing
    note: str = field(metadata={"title": "note", "shown_in": ("machine",)})


@dataclass(frozen=True, slots=True, kw_only=True)
class EigenvalueRow:
    """One eigenvalue of one layer's Σ_x or Σ_∇h."""

    layer: str = field(metadata={"title": "layer"})
    matrix: str = field(metadata={"title": "matrix"})  # input or grad
    group: int = field(metadata={"title": "group"})
    index: int = field(metadata={"title": "index"})  # from 1, descending
    eigenvalue: float | None = field(metadata={"title": "eigenvalue"})
    resolved: bool = field(metadata={"title": "above noise", "format": "yes|no"})
    error: float | None = field(metadata={"title": "±", "optional": True})  # as a SpectrumRow's
    note: str = field(metadata={"title": "note", "shown_in": ("machine",)})  # as a SpectrumRow's


def spectrum(
    stats: ProbeStats,
    *,
    percent: Sequence[float] = PERCENTAGES,
    layers: str | None = None,
    solve: Solve = np.linalg.eigvalsh,
    workers: int = 1,
    keep: Keep | None = None,
) -> list[SpectrumRow]:
    """One row a layer, in forward order, with κ_p for each percentage p in (0, 100].

    `layers` is a glob on the layers' names. `solve` takes symmetric float64 matrices (G, d, d) to
    their eigenvalues (G, d), ascending; `workers` look at a layer each at a time. `keep` is called
    with the eigenvalues of all layers. Raises `UsageError` for a percentage out of range or
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
    found = layer_spectra(stats, layers=layers, solve=solve, workers=workers)
    if keep is not None:
        keep(found)
    return [_row(item, reported(item, stats.provenance.conv), percent) for item in found]


def key(percent: float) -> str:
    """What stands for a percentage in a row's κ: 100, 99.5; another one for every other number."""
    return str(float(percent)).removesuffix(".0")


def eigenvalues(
    stats: ProbeStats,
    *,
    top: int | None = None,
    layers: str | None = None,
    solve: Solve = np.linalg.eigvalsh,
    workers: int = 1,
    keep: Keep | None = None,
) -> list[EigenvalueRow]:
    """Every eigenvalue of Σ_x and Σ_∇h of every layer, or the `top` largest of each group.

    Options and errors as in `spectrum`.
    """
    found = layer_spectra(stats, top=top, layers=layers, solve=solve, workers=workers)
    if keep is not None:
        keep(found)
    conv = stats.provenance.conv
    return [row for item in found for row in _eigenvalue_rows(item, reported(item, conv), top)]


def _eigenvalue_rows(
    item: LayerSpectra, factors: Factors, top: int | None
) -> Iterator[EigenvalueRow]:
    sides = (("input", factors.input, item.input_error), ("grad", factors.grad, item.grad_error))
    for matrix, found, error in sides:
        for group, index in np.ndindex(found.values[:, :top].shape):
            yield EigenvalueRow(
                layer=item.name,
                matrix=matrix,
                group=group,
                index=index + 1,
                eigenvalue=known(float(found.values[group, index])),
                resolved=bool(found.resolved[group, index]),
                error=error_of(found, error),
                note=item.note or "",
            )


def _row(found: LayerSpectra, factors: Factors, percent: Sequence[float]) -> SpectrumRow:
    x, grad = factors.input, factors.grad
    return SpectrumRow(
        layer=found.name,
        kind=found.kind,
        rows=found.rows,
        d_in=found.d_in,
        d_out=found.d_out,
        lambda_max_input=known(x.largest),
        lambda_max_grad=known(grad.largest),
        lambda_max=known(factors.largest(1)[0]),
        error_input=error_of(x, found.input_error),
        error_grad=error_of(grad, found.grad_error),
        kappa_input={key(p): condition_number(x, p) for p in percent},
        kappa_grad={key(p): condition_number(grad, p) for p in percent},
        kappa={key(p): kronecker_condition_number(x, grad, p) for p in percent},
        rank_input=x.rank,
        rank_grad=grad.rank,
        effective_rank_input=x.effective_rank,
        effective_rank_grad=grad.effective_rank,
        profile_input=tuple(_profile(x)),
        profile_grad=tuple(_profile(grad)),
        note=found.note or "",
    )


def _profile(found: Spectrum) -> Iterator[float | None]:
    values = np.sort(found.lower, axis=None)[::-1]
    for k in np.linspace(0, values.size - 1, min(values.size, _PROFILE_POINTS)).round().astype(int):
        yield float(np.log10(values[k] / values[0])) if values[k] > 0 else None

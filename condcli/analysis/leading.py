"""The largest eigenvalues of Σ_x, Σ_∇h and the sub-FIM alone: where gradients vanish or explode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from condcli.analysis.decomposition import layer_spectra
from condcli.analysis.scaling import descending, error_of, known, reported
from condcli.analysis.solvers import Solve
from condcli.errors import UsageError
from condcli.stats import LayerSpectra, ProbeStats


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadingRow:
    """The k-th largest eigenvalues of one layer; without a suffix the sub-FIM's."""

    layer: str = field(metadata={"title": "layer"})
    kind: str = field(metadata={"title": "kind", "drop": 3})
    rows: int = field(metadata={"title": "rows", "drop": 1})
    d_in: int = field(metadata={"title": "d_in", "drop": 2})
    d_out: int = field(metadata={"title": "d_out", "drop": 2})
    k: int = field(metadata={"title": "k"})  # from 1
    lambda_k_input: float | None = field(
        metadata={"title": "λ(Σx)"}
    )  # None beyond the last, and where not finite
    lambda_k_grad: float | None = field(metadata={"title": "λ(Σ∇h)"})
    lambda_k: float | None = field(metadata={"title": "λ(F)"})
    # as a SpectrumRow's
    error_input: float | None = field(metadata={"title": "±λ(Σx)", "optional": True})
    error_grad: float | None = field(metadata={"title": "±λ(Σ∇h)", "optional": True})
    note: str = field(metadata={"title": "note", "shown_in": ("machine",)})  # as a SpectrumRow's


def leading_eigenvalues(
    stats: ProbeStats,
    top: int,
    *,
    layers: str | None = None,
    solve: Solve = np.linalg.eigvalsh,
    workers: int = 1,
) -> list[LeadingRow]:
    """The `top` largest eigenvalues of Σ_x, Σ_∇h and F of every layer, a row each.

    Of large matrices they take a small fraction of the time of all eigenvalues. Raises `UsageError`
    for `top` under 1; the other options and errors are as in `spectrum`.
    """
    if top < 1:
        raise UsageError(f"top {top} eigenvalues are none", "ask for at least 1")
    found = layer_spectra(stats, top=top, layers=layers, solve=solve, workers=workers)
    return [row for item in found for row in _rows(item, stats.provenance.conv, top)]


def _rows(found: LayerSpectra, conv: str, top: int) -> Iterator[LeadingRow]:
    factors = reported(found, conv)
    lists = (
        descending(factors.input.values[:, :top], top),
        descending(factors.grad.values[:, :top], top),
        factors.largest(top),
    )
    known_lists = (map(known, values) for values in lists)
    for k, (of_input, of_grad, of_f) in enumerate(zip_longest(*known_lists), start=1):
        yield LeadingRow(
            layer=found.name,
            kind=found.kind,
            rows=found.rows,
            d_in=found.d_in,
            d_out=found.d_out,
            k=k,
            lambda_k_input=of_input,
            lambda_k_grad=of_grad,
            lambda_k=of_f,
            error_input=error_of(factors.input, found.input_error),
            error_grad=error_of(factors.grad, found.grad_error),
            note=found.note or "",
        )

"""How well Σ_x ⊗ Σ_∇h stands for the exact block of a layer: the check of the assumption.

K-FAC's two assumptions (§3 of the paper: x and ∇h independent, layers apart) become numbers:
eigenvalues of both, the relative Frobenius error ‖F − K‖_F / ‖F‖_F, and how much of the whole
matrix's squared Frobenius norm lies in blocks between two layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from condcli.analysis.condition import (
    ConditionNumber,
    kronecker_condition_number,
    place,
)
from condcli.analysis.eigenvalues import Spectrum
from condcli.analysis.spectrum import key
from condcli.errors import UsageError
from condcli.stats import FloatArray

Kappas = Mapping[str, ConditionNumber]
WHOLE = "(all layers)"  # the row of the whole matrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExactBlock:
    """What was measured of one diagonal block F, and of its approximation K = scale · Σ_x ⊗ Σ_∇h.

    With several `factors` it is the whole matrix, and K is block-diagonal, a block a layer.
    """

    layer: str
    kind: str
    size: int  # P: the block is (P, P)
    eigenvalues: FloatArray  # descending by size: all of them, or those that can be other than zero
    squared_norm: float  # ‖F‖_F²
    inner: float  # ⟨F, K⟩
    factors: tuple[KroneckerFactors, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KroneckerFactors:
    """The spectra of a layer's Σ_x and Σ_∇h, and the norm of K = scale · Σ_x ⊗ Σ_∇h."""

    input: Spectrum
    grad: Spectrum
    scale: float  # T: rows a loss term
    squared_norm: float  # ‖K‖_F²

    @property
    def largest(self) -> float:
        """λ_max(K), Proposition 1."""
        products = self.input.values[:, 0] * self.grad.values[:, 0]
        return self.scale * float(products.max(initial=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactRow:
    """The exact block of one layer beside its Kronecker approximation."""

    layer: str = field(metadata={"title": "layer"})
    kind: str = field(metadata={"title": "kind", "drop": 8})
    parameters: int = field(metadata={"title": "P", "drop": 6})
    rank: int = field(metadata={"title": "rk", "drop": 7})
    lambda_max: float = field(metadata={"title": "λ(F)"})
    lambda_max_kronecker: float = field(metadata={"title": "λ(K)"})
    lambda_ratio: float | None = field(metadata={"title": "ratio", "drop": 5})
    kappa: Kappas = field(metadata={"title": "κ{}(F)", "drop": 2, "drop_step": 1})
    kappa_kronecker: Kappas = field(metadata={"title": "κ{}(K)", "drop": 2, "drop_step": 1})
    # ‖F − K‖_F / ‖F‖_F; None when F is zero
    error: float | None = field(metadata={"title": "error", "format": "percent"})
    # ⟨F, K⟩ / (‖F‖_F ‖K‖_F): 1 when they differ in scale only
    cosine: float | None = field(metadata={"title": "cos"})
    # of the whole matrix's squared Frobenius norm; of the whole: what the diagonal blocks hold
    share: float | None = field(metadata={"title": "share", "format": "percent"})


def exact_rows(
    blocks: Sequence[ExactBlock], whole: ExactBlock, *, percent: Sequence[float]
) -> list[ExactRow]:
    """One row a layer, in forward order, and one of the whole matrix, named `(all layers)`.

    κ_p of the whole's approximation is that of all its layers' products together. Raises
    `UsageError` for a percentage out of (0, 100].
    """
    for value in percent:
        if not 0 < value <= 100:
            raise UsageError(
                f"percentage {value:g} is out of range", "choose from above 0 up to 100"
            )
    return [_row(block, whole.squared_norm, block.squared_norm, percent) for block in blocks] + [
        _row(whole, whole.squared_norm, sum(block.squared_norm for block in blocks), percent)
    ]


def off_diagonal_share(blocks: Sequence[ExactBlock], whole: ExactBlock) -> float | None:
    """How much of ‖F‖_F² lies in blocks between two layers; None when F is zero."""
    if not whole.squared_norm:
        return None
    return max(0.0, 1 - sum(block.squared_norm for block in blocks) / whole.squared_norm)


def _row(block: ExactBlock, whole: float, own: float, percent: Sequence[float]) -> ExactRow:
    largest, approximate = float(np.abs(block.eigenvalues).max(initial=0.0)), _largest(block)
    norm = sum(factors.squared_norm for factors in block.factors)
    return ExactRow(
        layer=block.layer,
        kind=block.kind,
        parameters=block.size,
        rank=int((np.abs(block.eigenvalues) > _floor(block)).sum()),
        lambda_max=largest,
        lambda_max_kronecker=approximate,
        lambda_ratio=approximate / largest if largest else None,
        kappa={key(p): _kappa(block, p) for p in percent},
        kappa_kronecker={key(p): _kappa_of_product(block, p) for p in percent},
        error=_error(block.squared_norm, block.inner, norm),
        cosine=block.inner / math.sqrt(block.squared_norm * norm)
        if block.squared_norm * norm
        else None,
        share=own / whole if whole else None,
    )


def _largest(block: ExactBlock) -> float:
    return max(factors.largest for factors in block.factors)


def _error(squared: float, inner: float, squared_other: float) -> float | None:
    """‖F − K‖_F / ‖F‖_F; rounding leaves about 1e-8 of two that are equal."""
    if not squared:
        return None
    return math.sqrt(max(0.0, squared - 2 * inner + squared_other) / squared)


def _floor(block: ExactBlock) -> float:
    largest = float(np.abs(block.eigenvalues).max(initial=0.0))
    return block.size * float(np.finfo(np.float64).eps) * largest


def _kappa(block: ExactBlock, percent: float) -> ConditionNumber:
    """κ_p of F; those of its P eigenvalues that are not given are zero."""
    sizes = np.sort(np.abs(block.eigenvalues))[::-1]
    k, floor = place(percent, block.size), _floor(block)
    largest = float(sizes.max(initial=0.0))
    value = bound = None
    if largest and k > len(sizes):
        value = math.inf
    elif largest and sizes[k - 1] > floor:
        value = largest / float(sizes[k - 1])
    elif largest:
        bound = largest / floor
    return ConditionNumber(
        value=value, lower_bound=bound, rank=int((sizes > floor).sum()), size=block.size
    )


def _kappa_of_product(block: ExactBlock, percent: float) -> ConditionNumber:
    if len(block.factors) == 1:
        (only,) = block.factors
        return kronecker_condition_number(only.input, only.grad, percent)
    inputs = _stacked([factors.input for factors in block.factors])
    grads = _stacked([factors.grad.scaled(factors.scale) for factors in block.factors])
    return kronecker_condition_number(inputs, grads, percent, size=block.size)


def _stacked(spectra: Sequence[Spectrum]) -> Spectrum:
    """All groups of all layers, with zeros behind the shorter ones."""
    longest = max(found.values.shape[1] for found in spectra)
    return Spectrum(
        values=np.vstack([_lengthened(found.values, longest) for found in spectra]),
        floor=np.vstack([found.floor for found in spectra]),
        ceiling=np.vstack([np.minimum(found.ceiling, found.values.shape[1]) for found in spectra]),
    )


def _lengthened(values: FloatArray, length: int) -> FloatArray:
    return np.pad(values, ((0, 0), (0, length - values.shape[1])))

"""Spectra in the scale that the conv view reports them in.

In `channels` the gradients of a layer are scaled as the paper's code does, as if the loss were a
mean over all locations: the reported Σ_∇h is T² times the stored second moment. In `patches` and
`reduce`, F = T · Σ_x ⊗ Σ_∇h (Grosse & Martens 2016; Eschenhagen et al. 2023, where T is examples
/ loss terms). Condition numbers are the same in any scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import numpy as np

from condcli.analysis.eigenvalues import Spectrum
from condcli.stats import FloatArray, LayerSpectra, Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """The spectra of a layer's Σ_x and Σ_∇h, and the factor of F = scale · Σ_x ⊗ Σ_∇h."""

    input: Spectrum
    grad: Spectrum
    scale: float

    def largest(self, top: int) -> list[float]:
        """The `top` largest eigenvalues of F, of all groups together, descending."""
        products = self.input.values[:, :top, None] * self.grad.values[:, None, :top]
        return descending(self.scale * products, top)


def reported(found: LayerSpectra, conv: str) -> Factors:
    """The spectra of a layer in the scale of the conv view."""
    x = Spectrum(
        values=found.input_eigenvalues,
        floor=found.input_floor[:, None],
        ceiling=found.input_ceiling[:, None],
        error=found.input_error or 0.0,
    )
    grad = Spectrum(
        values=found.grad_eigenvalues,
        floor=found.grad_floor[:, None],
        ceiling=found.grad_ceiling[:, None],
        error=found.grad_error or 0.0,
    )
    if conv == "channels":
        return Factors(input=x, grad=grad.scaled(found.positions**2), scale=1.0)
    return Factors(input=x, grad=grad, scale=found.positions)


def gradients_a_row(provenance: Provenance) -> int:
    """How many gradients of each row Σ_∇h is of, at the most."""
    return provenance.mc_samples or provenance.columns or 1


def error_of(found: Spectrum, stored: float | None) -> float | None:
    """By how much a spectrum, in the scale it is reported in, may be off; None of a whole moment,
    and where it is not finite.
    """
    return None if stored is None else known(found.error)


def known(value: float) -> float | None:
    """The value; None for NaN, as of a matrix that is not finite."""
    return None if isnan(value) else value


def descending(values: FloatArray, top: int) -> list[float]:
    """The `top` largest of the values, in whatever shape they come."""
    found: list[float] = np.sort(values, axis=None)[::-1][:top].tolist()
    return found

"""What the rules look at: a few numbers of every layer, found in one pass over the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from condcli.analysis.diagnosis.features import Features, features_of
from condcli.analysis.eigenvalues import Spectrum
from condcli.analysis.factors import mean_squares
from condcli.analysis.scaling import gradients_a_row, known, reported
from condcli.stats import (
    ActivationStats,
    LayerSpectra,
    LayerStats,
    ProbeStats,
    Provenance,
    SkippedParameter,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One linear map; what is not known, because it is not finite, is None."""

    name: str
    kind: str
    order: int
    d_in: int
    d_out: int
    groups: int
    rows: int
    input_rows: int
    gradients: int  # of h, that Σ_∇h is of: several a row where labels are drawn
    nonfinite: str | None
    input: Spectrum  # of Σ_x
    grad: Spectrum  # of Σ_∇h, as stored
    features: Features | None  # of x; None where they are not finite, or have no whole moment
    silent_outputs: int  # whose δ is zero in every row
    lambda_max_input: float | None
    # T · λ_max of the stored Σ_∇h: along its leading direction, the squared gradient with respect
    # to the whole map of an example, which neither pooling nor stride changes by itself
    gradient_size: float | None
    sigma_max_weight: float | None
    sigma_max_grad: float | None  # of ∂L/∂W

    @property
    def ratio(self) -> float | None:
        """σ_max(∂L/∂W) / σ_max(W); None where W is zero."""
        if self.sigma_max_grad is None or not self.sigma_max_weight:
            return None
        return self.sigma_max_grad / self.sigma_max_weight


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """One probed network, its layers and activations in forward order."""

    provenance: Provenance
    layers: tuple[Layer, ...]
    activations: tuple[ActivationStats, ...]
    skipped: tuple[SkippedParameter, ...]

    @property
    def maps(self) -> tuple[Layer, ...]:
        """The layers that saw rows and are no tables of vectors."""
        return tuple(item for item in self.layers if item.kind != "embedding" and item.rows)

    @property
    def last_linear(self) -> Layer | None:
        """The network's last layer where it is a linear one, and not only the last selected."""
        if self.provenance.selected or not self.maps or self.maps[-1].kind != "linear":
            return None
        return self.maps[-1]


def look_at(stats: ProbeStats, spectra: Iterable[LayerSpectra]) -> Network:
    """The network that was probed, with the spectra of all its layers; one layer's matrices are in
    memory at a time.
    """
    of_layer = {found.name: found for found in spectra}
    layers = (
        _layer(layer, of_layer[layer.name], stats.provenance) for layer in stats.layers.values()
    )
    return Network(
        provenance=stats.provenance,
        layers=tuple(sorted(layers, key=lambda layer: layer.order)),
        activations=tuple(sorted(stats.activations.values(), key=lambda item: item.order)),
        skipped=tuple(stats.skipped.values()),
    )


def _layer(layer: LayerStats, found: LayerSpectra, provenance: Provenance) -> Layer:
    eps = float(np.finfo(provenance.dtype).eps)
    stored = reported(found, "patches")  # leaves Σ_∇h as it is stored
    finite = np.isfinite(found.input_eigenvalues).all() and np.isfinite(layer.input_mean).all()
    return Layer(
        name=layer.name,
        kind=layer.kind,
        order=layer.order,
        d_in=layer.d_in,
        d_out=layer.d_out,
        groups=layer.groups,
        rows=layer.rows,
        input_rows=layer.input_rows,
        gradients=layer.rows * gradients_a_row(provenance),
        nonfinite=layer.nonfinite,
        input=stored.input,
        grad=stored.grad,
        features=features_of(layer, stored.input, eps)
        if finite and layer.input_moment is not None
        else None,
        silent_outputs=_silent(layer),
        lambda_max_input=known(stored.input.largest),
        gradient_size=known(layer.positions * stored.grad.largest),
        sigma_max_weight=known(float(layer.weight_singular_values.max(initial=0.0))),
        sigma_max_grad=known(float(layer.weight_grad_singular_values.max(initial=0.0))),
    )


def _silent(layer: LayerStats) -> int:
    """Of a sketch none is known to be."""
    return 0 if layer.grad_error else int(np.count_nonzero(mean_squares(layer, "grad") == 0))

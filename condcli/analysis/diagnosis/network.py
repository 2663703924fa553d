"""What the rules look at: a few numbers of every layer, found in one pass over the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from condcli.analysis.decomposition import layer_spectra
from condcli.analysis.eigenvalues import Spectrum
from condcli.analysis.scaling import known, reported
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
    d_in: int
    d_out: int
    rows: int
    nonfinite: str | None
    input: Spectrum  # of Σ_x
    grad: Spectrum  # of Σ_∇h, as stored
    lambda_max_input: float | None
    # T · λ_max of the stored Σ_∇h: along its leading direction, the squared gradient with respect
    # to the whole map of an example, which neither pooling nor stride changes by itself
    gradient_size: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """One probed network, its layers in forward order."""

    provenance: Provenance
    layers: tuple[Layer, ...]
    activations: tuple[ActivationStats, ...]
    skipped: tuple[SkippedParameter, ...]


def look_at(stats: ProbeStats, *, workers: int = 1) -> Network:
    """The network that was probed; one layer's matrices are in memory at a time."""
    spectra: Mapping[str, LayerSpectra] = {
        found.name: found for found in layer_spectra(stats, workers=workers)
    }
    layers = sorted(stats.layers.values(), key=lambda layer: layer.order)
    return Network(
        provenance=stats.provenance,
        layers=tuple(_layer(layer, spectra[layer.name]) for layer in layers),
        activations=tuple(sorted(stats.activations.values(), key=lambda item: item.order)),
        skipped=tuple(stats.skipped.values()),
    )


def _layer(layer: LayerStats, found: LayerSpectra) -> Layer:
    stored = reported(found, "patches")  # leaves Σ_∇h as it is stored
    return Layer(
        name=layer.name,
        kind=layer.kind,
        d_in=layer.d_in,
        d_out=layer.d_out,
        rows=layer.rows,
        nonfinite=layer.nonfinite,
        input=stored.input,
        grad=stored.grad,
        lambda_max_input=known(stored.input.largest),
        gradient_size=known(layer.positions * stored.grad.largest),
    )

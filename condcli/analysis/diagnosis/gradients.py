"""Layers that get no gradient at all."""

from __future__ import annotations

from collections.abc import Iterator

from condcli.analysis.diagnosis.finding import Finding, brief, count
from condcli.analysis.diagnosis.network import Network
from condcli.analysis.diagnosis.thresholds import Thresholds
from condcli.stats import NO_GRADIENT, PART_OF_GRADIENT

_MECHANISM = (
    "∂L/∂W = E[δ xᵀ] needs a δ: where it is cut off or zero on every row, the layer stays as it is."
)
_SOURCE = "paper, Property 1"


def no_gradient(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for layers that the backward pass did not reach, and one for gradients of zero."""
    cut = [item for item in network.skipped if item.reason.startswith(NO_GRADIENT)]
    partly = [item for item in network.skipped if item.reason.startswith(PART_OF_GRADIENT)]
    if unreached := [*cut, *partly]:
        yield Finding(
            rule="no-gradient",
            severity="warning",
            layers=tuple(item.name for item in unreached),
            title="the backward pass does not reach some layers",
            evidence=f"{len(cut)} got no gradient, {len(partly)} only in some of their calls; "
            f"{brief(unreached[0].name)}: {unreached[0].reason}",
            numbers={"unreached": len(cut), "partly": len(partly)},
            mechanism=_MECHANISM,
            source=_SOURCE,
            remedy="Unless that is meant (frozen layers, a head without a loss): look for detach, "
            "no_grad, .data, argmax or rounding between these layers and the loss.",
        )
    zero = [layer for layer in network.maps if layer.gradient_size == 0]
    if zero:
        everywhere = len(zero) == len(network.maps)
        yield Finding(
            rule="zero-gradient",
            severity="error",
            layers=tuple(layer.name for layer in zero),
            title="the gradient is zero on every row",
            evidence=f"Σ∇h is zero in {len(zero)} of {len(network.maps)} layers, "
            f"loss {network.provenance.loss:.3g}",
            numbers={"layers": len(zero), "of": len(network.maps)},
            mechanism=_MECHANISM,
            source=_SOURCE,
            remedy="The loss itself gives no gradient: look at it, and at the range of the outputs."
            if everywhere
            else "Look just above these layers: dead units, a weight of zeros, a saturated or "
            "constant function, or numbers too small for the precision.",
        )


def no_input(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for layers whose input is zero on every row."""
    silent = [layer for layer in network.maps if layer.features and not layer.features.mean_square]
    if silent:
        yield Finding(
            rule="zero-input",
            severity="note",
            layers=tuple(layer.name for layer in silent),
            title=f"the input of {count(len(silent), 'layer')} is zero on every row",
            evidence=f"Σx is zero, first in {brief(silent[0].name)}",
            numbers={"layers": len(silent), "of": len(network.maps)},
            mechanism=_MECHANISM,
            source=_SOURCE,
            remedy="That is so of a recurrent weight that is probed for one step, from a state of "
            "zeros; else, look for dead units just below.",
        )

"""Weight domination (Definition 1): layers whose weight no longer moves."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from condcli.analysis.diagnosis.accuracy import is_fitted
from condcli.analysis.diagnosis.finding import Finding, brief
from condcli.analysis.diagnosis.network import Network
from condcli.analysis.diagnosis.thresholds import Thresholds

_MECHANISM = (
    "Where σ_max(∂L/∂W) is far below σ_max(W), a step hardly changes the weight: the layer stays "
    "where it is and the others learn around it, to a worse end."
)
_SOURCE = "paper §4.2, Definition 1 and Figure 4"


def dominated(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for layers that are dominated while others are not, or all in a network unfitted.

    Once a network fits its data all gradients are small, which is no fault of a layer.
    """
    ratios = {layer.name: layer.ratio for layer in network.maps if layer.ratio is not None}
    stuck = {name: ratio for name, ratio in ratios.items() if ratio < thresholds.domination_ratio}
    free = [ratio for name, ratio in ratios.items() if name not in stuck]
    if not stuck:
        return
    if free:
        usual = median(free)
        stuck = {n: r for n, r in stuck.items() if r * thresholds.domination_apart < usual}
    elif is_fitted(network.provenance):
        return
    if not stuck:
        return
    worst = min(stuck, key=stuck.__getitem__)
    others = f"; the others' median is {median(free):.2g}" if free else ", as is every layer"
    yield Finding(
        rule="weight-domination",
        severity="error" if free and len(stuck) < len(ratios) else "warning",
        layers=tuple(stuck),
        title=f"{len(stuck)} of {len(ratios)} layers stopped learning: the weight dominates",
        evidence=f"σ(∂W)/σ(W) is below {thresholds.domination_ratio:g}: from {stuck[worst]:.2g} at "
        f"{brief(worst)} to {max(stuck.values()):.2g}{others}",
        numbers={"least_ratio": stuck[worst], "layers": len(stuck), "of": len(ratios)},
        mechanism=_MECHANISM,
        source=_SOURCE,
        remedy="Scale these weights down (before a normalisation that changes nothing else), give "
        "them weight decay or a larger learning rate of their own, and warm the rate up.",
    )

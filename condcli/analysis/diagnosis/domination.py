"""Weight domination (Definition 1): layers whose weight no longer moves."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from condcli.analysis.diagnosis.accuracy import is_fitted
from condcli.analysis.diagnosis.finding import Finding, Severity, brief
from condcli.analysis.diagnosis.network import Network
from condcli.analysis.diagnosis.thresholds import Thresholds

_MECHANISM = (
    "Where σ_max(∂L/∂W) is far below σ_max(W), a step hardly changes the weight: the layer stays "
    "where it is and the others learn around it, to a worse end."
)
_SOURCE = "paper §4, Definition 1 and Figure 4"


def dominated(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for layers that are dominated while others are not, or all in a network unfitted.

    Once a network fits its data all gradients are small, which is no fault of a layer. Where the
    input or the gradient is zero on every row other rules tell why.
    """
    ratios = {layer.name: layer.ratio for layer in network.maps if layer.ratio}
    stuck = {name: ratio for name, ratio in ratios.items() if ratio < thresholds.domination_ratio}
    free = [ratio for name, ratio in ratios.items() if name not in stuck]
    fitted = is_fitted(network.provenance)
    if not stuck:
        return
    if free:
        usual = median(free)
        stuck = {n: r for n, r in stuck.items() if r * thresholds.domination_apart < usual}
    elif fitted:
        return
    if not stuck:
        return
    severity: Severity = "error" if free else "warning"
    worst = min(stuck, key=stuck.__getitem__)
    others = f"; the median of the others is {median(free):.2g}" if free else ", as is every layer"
    yield Finding(
        rule="weight-domination",
        severity="note" if fitted else severity,
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

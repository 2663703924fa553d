"""What the network is fed: inputs that nobody normalised, and features given twice."""

from __future__ import annotations

import math
from collections.abc import Iterator

from condcli.analysis.diagnosis.finding import Finding, brief
from condcli.analysis.diagnosis.network import Layer, Network
from condcli.analysis.diagnosis.thresholds import Thresholds

_FEWEST_ROWS = 32  # of fewer, features are alike by chance
_NAMED = 5
_COPIED = (
    "Two features that are one leave a direction in which Σx has no curvature and another with "
    "twice of it: κ grows, and the weights of both move as one."
)


def unnormalised(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding where the first layer's input is large, far from zero, or of mixed scales."""
    first = _fed(network)
    if first is None or first.features is None:
        return
    seen = first.features
    size = math.sqrt(seen.mean_square)
    reasons = []
    if size > thresholds.input_size:
        reasons.append(f"its root mean square is {size:.3g}, for about 1")
    if seen.mean_share > thresholds.input_offset:
        reasons.append(f"{100 * seen.mean_share:.3g} % of its square is the mean's")
    if seen.spread > thresholds.input_spread:
        reasons.append(f"the largest feature's square is {seen.spread:.2g} times the median one's")
    if not reasons:
        return
    yield Finding(
        rule="unnormalised-input",
        severity="warning",
        layers=(first.name,),
        title="the network's input is not normalised",
        evidence=f"of the input of {brief(first.name)}, {'; '.join(reasons)}",
        numbers={"rms": size, "mean_share": seen.mean_share, "spread": seen.spread},
        mechanism="λ_max(Σx) of the first layer is that of the data: an offset or a large feature "
        "makes one direction so steep that the learning rate is too small for all others.",
        source="LeCun et al., Efficient BackProp, 1998, §4.3; paper, linear regression",
        remedy="Subtract each feature's (or channel's) mean and divide by its standard deviation, "
        "in training as in the probe (--normalize).",
    )


def duplicated(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding for inputs of the network that repeat each other, and one for hidden units."""
    fed = _fed(network)
    for layer in network.maps:
        seen = layer.features
        if seen is None or not seen.copies or layer.input_rows < _FEWEST_ROWS:
            continue
        if layer is fed:
            yield _copied_inputs(layer)
    hidden = [
        layer
        for layer in network.maps
        if layer is not fed and layer.features and layer.input_rows >= _FEWEST_ROWS
        if len(layer.features.copies) > max(1, thresholds.copies_share * layer.d_in)
    ]
    if hidden:
        yield _copied_units(hidden)


def _fed(network: Network) -> Layer | None:
    """The layer that sees the data; None where that is a table, or not known."""
    if network.provenance.selected or not network.layers or not network.layers[0].rows:
        return None
    return None if network.layers[0].kind == "embedding" else network.layers[0]


def _copied_inputs(layer: Layer) -> Finding:
    assert layer.features is not None
    copies = layer.features.copies
    pairs = ", ".join(f"{feature} of {original}" for feature, original in copies[:_NAMED])
    more = ", …" if len(copies) > _NAMED else ""
    return Finding(
        rule="duplicated-features",
        severity="warning",
        layers=(layer.name,),
        title=f"{len(copies)} of the network's {layer.d_in} inputs repeat another one",
        evidence=f"copies or multiples, counted from 0: {pairs}{more}",
        numbers={"copies": len(copies), "features": layer.d_in},
        mechanism=_COPIED,
        source="paper, the Hessian of linear regression: E[x xᵀ] ⊗ I",
        remedy="Leave the repeated columns or channels out, or see that the data are read right.",
    )


def _copied_units(layers: list[Layer]) -> Finding:
    worst = max(layers, key=_share)
    assert worst.features is not None
    copies = len(worst.features.copies)
    return Finding(
        rule="duplicated-units",
        severity="error" if _share(worst) >= 0.5 else "warning",
        layers=tuple(layer.name for layer in layers),
        title="hidden units are copies of each other",
        evidence=f"{copies} of the {worst.d_in} inputs of {brief(worst.name)} repeat another one",
        numbers={"copies": copies, "features": worst.d_in},
        mechanism="Units that start alike get the same gradient and stay alike.",
        source="Goodfellow, Bengio & Courville, Deep Learning, 2016, §8.4",
        remedy="Initialise weights at random, not to a constant; remove units that are copies.",
    )


def _share(layer: Layer) -> float:
    return len(layer.features.copies) / layer.d_in if layer.features else 0.0

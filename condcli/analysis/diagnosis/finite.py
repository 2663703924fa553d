"""NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Iterator

from condcli.analysis.diagnosis.finding import Finding, brief
from condcli.analysis.diagnosis.network import Network
from condcli.analysis.diagnosis.thresholds import Thresholds


def not_finite(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding where a layer was kept though not finite, or the loss is not."""
    broken = [layer for layer in network.layers if layer.nonfinite]
    loss = network.provenance.loss
    if not broken and math.isfinite(loss):
        return
    places = [f"first in {brief(broken[0].name)}: {broken[0].nonfinite}"] if broken else []
    yield Finding(
        rule="non-finite",
        severity="error",
        layers=tuple(layer.name for layer in broken),
        title="NaN or infinity",
        evidence=", ".join(
            [f"{len(broken)} of {len(network.layers)} layers", *places, f"loss {loss:g}"]
        ),
        numbers={"layers": len(broken), "loss": loss},
        mechanism="One number that is not finite makes every later activation, and in the "
        "backward pass every earlier gradient, that depends on it the same.",
        source="IEEE 754-2019, §6.1 and §6.2",
        remedy="Go back to the last finite checkpoint; lower the learning rate or clip gradients; "
        "look for NaN in the data, log(0), 0/0 and, in float16, numbers above 65504.",
    )

"""The bounds that the rules compare with; docs/diagnosis.md says where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from condcli.analysis.defaults import DOMINATION_THRESHOLD
from condcli.analysis.diagnosis.finding import Severity


def _bound(default: float, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """One bound a field; `meaning` in its metadata is the comment in the TOML file."""

    depth_decades_warning: float = _bound(
        6.0, "decades that λ_max of Σx or Σ∇h may move over the depth of the network"
    )
    depth_decades_error: float = _bound(10.0, "the same, from where it is an error")
    domination_ratio: float = _bound(
        DOMINATION_THRESHOLD, "σ(∂W)/σ(W) below which a weight dominates its gradient"
    )
    domination_apart: float = _bound(
        100.0, "how many times the ratio of a dominated layer is below the others'"
    )
    dying_share_warning: float = _bound(0.33, "share of an activation's units that are off")
    dying_share_error: float = _bound(0.75, "the same, from where it is an error")
    full_share: float = _bound(0.8, "share of an activation's units that are always on")
    saturated_share: float = _bound(0.8, "share of units x rows at an asymptote")
    kappa: float = _bound(1e4, "κ50 of Σx from which a layer is ill-conditioned")
    kappa_apart: float = _bound(
        1e3, "κ50 of Σx or Σ∇h over the network's median from which it is, too"
    )
    mean_share_of_largest: float = _bound(
        0.5, "share of λ_max(Σx) that is the mean's, from which an input counts as uncentred"
    )
    collapse: float = _bound(
        1e-3, "share of a layer's squared input that varies, below which it is one point"
    )
    directions: float = _bound(1.5, "directions that an input varies in, below which it is a line")
    input_size: float = _bound(10.0, "root mean square of the network's input")
    input_offset: float = _bound(0.95, "share of the squared input that is its mean's")
    input_spread: float = _bound(1e4, "mean square of the largest feature over the median's")
    copies_share: float = _bound(0.1, "share of a hidden layer's inputs that repeat another")
    last_layer_ratio: float = _bound(
        1.0, "σ(∂W)/σ(W) of the last linear layer from which its large input spoils it"
    )
    last_layer_shrunk: float = _bound(
        30.0, "how many times λ_max(Σx) of a stuck last layer is below the others' median"
    )
    last_layer_stuck_ratio: float = _bound(1e-3, "σ(∂W)/σ(W) below which it is stuck")
    last_layer_weight: float = _bound(3.0, "its σ(W) over the other layers' median")
    even_errors: float = _bound(
        0.97, "effective rank of the last Σ∇h, of C - 1, from which errors fall evenly on classes"
    )


DEFAULTS = Thresholds()


def graded(value: float, *, warning: float, error: float) -> Severity | None:
    """How severe a value is that should stay under both bounds; None where it does."""
    if value >= error:
        return "error"
    return "warning" if value >= warning else None

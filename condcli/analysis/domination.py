"""Weight domination (Definition 1 of the paper): σ_max(∂L/∂W) ≪ σ_max(W)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from condcli.analysis.defaults import DOMINATION_THRESHOLD
from condcli.analysis.selection import selected_names
from condcli.errors import InputError, UsageError
from condcli.stats import LayerStats, ProbeStats

Bar = float | None  # a ratio, drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class DominationRow:
    """How large the weight of one layer is beside its gradient, of the mean loss."""

    layer: str = field(metadata={"title": "layer"})
    kind: str = field(metadata={"title": "kind", "drop": 4})
    # None where the matrix is not finite
    sigma_max_weight: float | None = field(metadata={"title": "σ(W)"})
    sigma_max_grad: float | None = field(metadata={"title": "σ(∂W)"})
    ratio: float | None = field(metadata={"title": "ratio"})  # None when W is zero, or not known
    ratio_bar: Bar = field(
        metadata={"title": "1e-8 … 1", "format": "bar", "drop": 3, "shown_in": ("table",)}
    )
    # None without a learning rate
    relative_update: float | None = field(metadata={"title": "lr·ratio", "optional": True})
    dominated: bool | None = field(metadata={"title": "verdict", "format": "dominated|free"})
    weight_norm: float | None = field(metadata={"title": "‖W‖F", "drop": 2})
    weight_grad_norm: float | None = field(metadata={"title": "‖∂W‖F", "drop": 2})
    # λ_max of the second moment of the per-example weight gradients; None where not measured
    grad_moment_lambda_max: float | None = field(metadata={"title": "λ(Σ∂W)", "drop": 1})
    note: str = field(
        metadata={"title": "note", "shown_in": ("machine",)}
    )  # why it was not measured, or is not finite


def domination(
    stats: ProbeStats,
    *,
    threshold: float = DOMINATION_THRESHOLD,
    lr: float | None = None,
    layers: str | None = None,
) -> list[DominationRow]:
    """One row a layer, in forward order; dominated when σ_max(∂L/∂W) < threshold · σ_max(W).

    With a learning rate `lr`, a row also has the relative change of σ_max(W) that one step of plain
    gradient descent can make. `layers` is a glob on their names. Raises `UsageError` for a
    threshold or learning rate that is not positive and for a glob that matches nothing, and
    `InputError` naming a layer whose weight or gradient is NaN or infinite.
    """
    for name, value in (("threshold", threshold), ("learning rate", lr)):
        if value is not None and not 0 < value < np.inf:
            raise UsageError(f"the {name} {value:g} is not positive", "pass a number above 0")
    return [_row(stats.layers[name], threshold, lr) for name in selected_names(stats, layers)]


def _row(layer: LayerStats, threshold: float, lr: float | None) -> DominationRow:
    weight, grad = layer.weight_singular_values, layer.weight_grad_singular_values
    if not (layer.nonfinite or (np.isfinite(weight).all() and np.isfinite(grad).all())):
        raise InputError(
            f"layer {layer.name!r}: its weight or weight gradient holds NaN or infinity",
            "look at the checkpoint and its data, or probe again",
        )
    sigma_weight, sigma_grad = (_known(s.max(initial=0.0)) for s in (weight, grad))
    unknown = sigma_weight is None or sigma_grad is None
    ratio = sigma_grad / sigma_weight if sigma_weight and sigma_grad is not None else None
    return DominationRow(
        layer=layer.name,
        kind=layer.kind,
        sigma_max_weight=sigma_weight,
        sigma_max_grad=sigma_grad,
        ratio=ratio,
        ratio_bar=ratio,
        relative_update=None if lr is None or ratio is None else lr * ratio,
        dominated=None if unknown else ratio is not None and ratio < threshold,
        weight_norm=_known(layer.weight_norm),
        weight_grad_norm=_known(layer.weight_grad_norm),
        grad_moment_lambda_max=layer.weight_grad_moment_lambda_max,
        note=layer.weight_grad_moment_note,
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

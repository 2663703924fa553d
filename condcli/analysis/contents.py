"""What a statistics file holds, each part loaded and looked through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import numpy as np

from condcli.stats import ActivationStats, LayerStats, ProbeStats, SkippedParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRow:
    """One layer or activation of a statistics file."""

    name: str = field(metadata={"title": "name"})
    section: str = field(metadata={"title": "section", "drop": 1})
    kind: str = field(metadata={"title": "kind"})
    rows: int | None = field(default=None, metadata={"title": "rows"})
    d_in: int | None = field(default=None, metadata={"title": "d_in"})
    d_out: int | None = field(default=None, metadata={"title": "d_out"})
    groups: int | None = field(default=None, metadata={"title": "groups", "drop": 2})
    calls: int | None = field(default=None, metadata={"title": "calls", "drop": 2})
    parameters: int | None = field(default=None, metadata={"title": "parameters", "drop": 2})
    # what is stored where it is wider than max_dim
    form: str | None = field(default=None, metadata={"title": "form", "optional": True})
    # ok, or not finite: WHICH
    status: str = field(default="ok", metadata={"title": "status"})


def contents(stats: ProbeStats) -> list[ContentRow]:
    """One row a part: layers, then activations.

    Loading a part verifies its checksums; `InputError` where one does not hold.
    """
    return [
        *(_layer_row(layer) for layer in stats.layers.values()),
        *(_activation_row(activation) for activation in stats.activations.values()),
    ]


def skipped(stats: ProbeStats) -> dict[str, str]:
    """One line a reason: under the first name, what was skipped for it and how many numbers."""
    by_reason: dict[str, list[SkippedParameter]] = {}
    for item in stats.skipped.values():
        by_reason.setdefault(item.reason, []).append(item)
    facts = {}
    for reason, items in by_reason.items():
        names, count = (", …", f"{len(items)} of ") if len(items) > 1 else ("", "")
        kinds = ", ".join(sorted({item.kind for item in items}))
        numbers = sum(item.parameters for item in items)
        facts[f"skipped {items[0].name}{names}"] = f"{count}{kinds}, {numbers} parameters: {reason}"
    return facts


def _layer_row(layer: LayerStats) -> ContentRow:
    arrays = {item.name: getattr(layer, item.name) for item in fields(layer)}
    broken = [
        name
        for name, value in arrays.items()
        if isinstance(value, np.ndarray) and not np.isfinite(value).all()
    ]
    allowed = f" ({layer.nonfinite})" if layer.nonfinite else ""
    return ContentRow(
        name=layer.name,
        section="layers",
        kind=layer.kind,
        rows=layer.rows,
        d_in=layer.d_in,
        d_out=layer.d_out,
        groups=layer.groups,
        calls=layer.calls,
        parameters=layer.parameters,
        form=", ".join(_forms(layer)) or None,
        status=f"not finite{allowed}: {', '.join(broken)}" if broken else "ok",
    )


def _forms(layer: LayerStats) -> Iterator[str]:
    """In words, what stands for a moment."""
    for sign, factor, error in (
        ("Σx", layer.input_factor, layer.input_error),
        ("Σ∇h", layer.grad_factor, layer.grad_error),
    ):
        if factor is not None:
            yield f"{sign}: {factor.shape[-2]} rows" if error == 0 else f"{sign}: sketch"


def _activation_row(item: ActivationStats) -> ContentRow:
    return ContentRow(
        name=item.name, section="activations", kind=item.function, rows=item.rows, d_out=item.units
    )

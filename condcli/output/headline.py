"""The line above every table: what was measured, on what, how."""

from __future__ import annotations

from pathlib import Path

from condcli.output.cells import number
from condcli.output.escaping import escaped
from condcli.stats import Provenance


def headline(provenance: Provenance) -> str:
    """Model, data, examples, Fisher type, conv view, norm mode, dtype, loss and accuracy in one
    line.
    """
    model = Path(provenance.model_source).name
    if provenance.arch and provenance.arch not in model:
        model += f" ({provenance.arch})"
    parts = [
        f"{model} on {provenance.data_source}",
        f"{provenance.examples} examples" + shard(provenance),
        fisher(provenance),
        f"conv {provenance.conv}",
        f"norm {provenance.norm}{', dropout on' if provenance.dropout else ''}",
        provenance.dtype,
        f"{provenance.loss_name} {number(provenance.loss)}",
    ]
    if provenance.step is not None:
        parts.insert(1, f"step {provenance.step}")
    if provenance.accuracy is not None:
        parts.append(f"accuracy {100 * provenance.accuracy:.2f} %")
    return escaped(" · ".join(parts))


def fisher(provenance: Provenance) -> str:
    """What the gradients are of."""
    drawn = f" ({provenance.mc_samples} drawn)" if provenance.mc_samples else ""
    return f"fisher {provenance.fisher}{drawn}"


def shard(provenance: Provenance) -> str:
    """Of which whole the examples are a shard; empty for a whole."""
    if not provenance.shard:
        return ""
    return f" (shard {provenance.shard} of {provenance.whole_examples})"

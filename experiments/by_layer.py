"""A training's first and last recorded step, layer by layer, and Theorem 4.2 put to its ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from torch import nn

import condcli
from experiments.by_depth import recorded
from experiments.setup import Setup
from experiments.training import Run

ALPHA = 2.0
ENDS = {"first": "initialisation", "last": "end"}
Found = Mapping[str, Any]  # what `measured` gives


def measured(done: Run, scaled: Sequence[str], setup: Setup) -> dict[str, Any]:
    """The loss by step; ``first`` and ``last``: each quantity by layer; ``laws``: as `law`."""
    steps = recorded(done.stats)
    ends = dict(zip(ENDS, (min(steps), max(steps)), strict=True))
    return {
        "loss": done.log.losses,
        **{end: steps[step] | more(done.stats, step) for end, step in ends.items()},
        "laws": {
            end: law(checkpoint, scaled, setup)
            for end, checkpoint in zip(ends, done.checkpoints, strict=False)
            if scaled and (end == "first" or math.isfinite(done.log.losses[-1]))
        },
    }


def more(stats: Path, step: int) -> dict[str, list[float]]:
    """Of each layer ‖E x‖² / tr Σ_x, and of each activation the neurons that do not switch.

    NaN of a network that has diverged: no neuron of it is above zero.
    """
    found = condcli.read(stats / f"step_{step:08}.h5")
    both = [row.dying_share + row.full_share for row in condcli.neurons(found)]
    return {
        "mean_share": [mean_share(layer) for layer in found.layers.values()],
        "stuck_share": both if math.isfinite(found.provenance.loss) else [math.nan] * len(both),
    }


def mean_share(layer: Any) -> float:
    """How much of an input's second moment is that of its mean: 1 where all rows are alike."""
    moment = np.asarray(layer.input_moment, dtype=np.float64)
    mean = np.asarray(layer.input_mean, dtype=np.float64)
    trace = moment.sum() if moment.ndim == 1 else np.trace(moment)  # an embedding's is diagonal
    return float(mean @ mean / trace)


def law(
    model: Path | nn.Module, scaled: Sequence[str], setup: Setup, **data: Any
) -> dict[str, Any]:
    """The theorem that each scaled layer is nearer to, and the largest exponent's distance.

    ``data`` are arguments of `condcli.scale_law`, for a network that does not say what it is for.
    """
    found = condcli.scale_law(
        model,
        root=setup.root,
        alpha=ALPHA,
        layers=scaled,
        samples=64,
        device=setup.device,
        **data,
    )
    return {row.layer: {"law": row.law, "off": row.deviation} for row in found.rows}


def off(found: Found, end: str) -> float:
    """The largest distance from Theorem 4.2; infinite where another law is nearer."""
    rows = found["laws"][end].values()
    return max(row["off"] if row["law"] == "4.2" else math.inf for row in rows)


def late(found: Found) -> float:
    """The mean loss of the last tenth of the steps; infinite where it has no number."""
    losses = found["loss"][-max(1, len(found["loss"]) // 10) :]
    mean = sum(losses) / len(losses)
    return mean if math.isfinite(mean) else math.inf


def hidden(values: Sequence[float]) -> float:
    """The median of all layers but the first and the last; what has no number is infinite."""
    return median(math.inf if math.isnan(value) else value for value in values[1:-1])


def deep(values: Sequence[float]) -> float:
    """The mean of the last quarter."""
    count = max(1, len(values) // 4)
    return sum(values[-count:]) / count


def factor(values: Sequence[float]) -> float:
    """By how much a quantity grows from a hidden layer to the one before it, in the mean."""
    inner = np.log(values[1:-1])
    return float(np.exp(-np.polyfit(np.arange(len(inner)), inner, 1)[0]))

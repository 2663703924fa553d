"""Trainings to be recorded, and what a record must have in common with a probe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import condcli
from condcli.stats import LayerStats, ProbeStats

Loss = Callable[[Tensor, Tensor], Tensor]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(64, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def batches(count: int, examples: int = 8) -> list[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(examples, 3, 4, 4, generator=source),
            torch.randint(3, (examples,), generator=source),
        )
        for _ in range(count)
    ]


def step_file(folder: Path, number: int) -> ProbeStats:
    return condcli.read(folder / f"step_{number:08d}.h5")


def record_once(
    model: nn.Module,
    folder: Path,
    data: Sequence[tuple[Any, Tensor]],
    loss: Loss = F.cross_entropy,
    **options: Any,
) -> ProbeStats:
    """The record of one step over all batches, whose losses are averaged over the batches."""
    with condcli.Recorder(model, folder, accumulate=len(data), **options) as recorder:
        for x, y in data:
            with recorder.step():
                (loss(model(x), y) / len(data)).backward()
    return step_file(folder, 0)


def assert_layers_agree(
    stats: ProbeStats,
    other: ProbeStats,
    *,
    tolerance: float,
    without: Iterable[str] = (),
    unknown: str = "",
) -> None:
    """The same layers and numbers; moments within ``tolerance`` of their largest entries.

    The first may lack the layers ``without``, and λ_max of per-example gradients for a reason.
    """
    assert list(stats.layers) == [name for name in other.layers if name not in [*without]]
    for name, layer in stats.layers.items():
        theirs = other.layers[name]
        if unknown and layer.weight_grad_moment_note == unknown:
            theirs = replace(
                theirs, weight_grad_moment_lambda_max=None, weight_grad_moment_note=unknown
            )
        assert_layer_agrees(replace(layer, order=theirs.order), theirs, tolerance)
    assert list(stats.activations) == list(other.activations)
    for name, count in stats.activations.items():
        np.testing.assert_array_equal(count.active_count, other.activations[name].active_count)


def assert_layer_agrees(layer: LayerStats, other: LayerStats, tolerance: float) -> None:
    for item in fields(layer):
        mine, theirs = getattr(layer, item.name), getattr(other, item.name)
        if not isinstance(theirs, np.ndarray | float):
            assert mine == theirs, item.name
            continue
        scale = np.abs(theirs).max(initial=0)
        if item.name in ("input_mean", "grad_mean"):  # a mean is small against its moment's root
            moment = getattr(other, item.name.replace("mean", "moment"))
            scale = max(scale, np.abs(moment).max() ** 0.5)
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * scale, err_msg=item.name)

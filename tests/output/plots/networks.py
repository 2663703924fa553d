"""Statistics of small networks and runs with known numbers, some of them hard to show."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from condcli.stats import ProbeStats
from condcli.statsfile import write
from tests.synthetic import activation, diagonal, layer, stats

INPUT = [8.0, 4.0, 2.0, 1.0, 0.5]
GRAD = [0.3, 0.2, 0.1, 0.05]


def network(depth: int = 4, *, fall: float = 0.1, **changes: object) -> ProbeStats:
    """Layers fc1, fc2, …, whose Σ_x is `fall` times that of the one before, and the reverse."""
    return stats(
        *(
            layer(
                f"fc{k + 1}",
                diagonal(*(fall**k * np.array(INPUT))),
                diagonal(*(fall ** (depth - 1 - k) * np.array(GRAD))),
                order=k,
                weight_singular_values=np.array([2.0 + k, 1.0]),
                weight_grad_singular_values=np.array([10.0 ** (k - depth), 0.0]),
                weight_grad_moment_lambda_max=0.1 * (k + 1),
            )
            for k in range(depth)
        ),
        activations=tuple(
            activation(
                f"relu{k + 1}",
                order=k,
                units=8,
                active_count=np.array(([0] * k + [100] * 2 + [10, 30, 50, 55, 70, 99][k:])[-8:]),
            )
            for k in range(depth - 1)
        ),
        **changes,
    )


def hard_network() -> ProbeStats:
    """Layers with a zero, a NaN, an infinite κ, a κ under the noise, groups and a diagonal."""
    nan = np.full((2, 2), np.nan)
    thin = diagonal(1.0, 1.0, 0.0, 0.0)
    low = diagonal(1.0, 0.5, 1e-9, 1e-9)
    groups = np.stack([diagonal(3.0, 1.0), diagonal(2.0, 0.5)])
    return stats(
        layer("usual"),
        layer("dead", np.zeros((3, 3)), np.zeros((2, 2)), order=1),
        layer("broken", nan, nan, order=2, nonfinite="since batch 0"),
        layer("few rows", thin, rows=2, input_rows=2, order=3),
        layer("below noise", low, order=4),
        layer("grouped", groups, np.array([[[1e-3]], [[1e-4]]]), kind="conv2d", order=5),
        layer("embedding", order=6, **_lookup()),
        dtype="float32",
        activations=(
            activation("relu"),
            activation("gate", function="sigmoid", order=1, saturated_count=np.array([9, 0, 0, 5])),
        ),
    )


def _lookup() -> dict[str, object]:
    """An embedding, whose Σ_x is a diagonal of the tokens' shares."""
    shares = np.array([0.5, 0.25, 0.25, 0.0])
    return {
        "kind": "embedding",
        "d_in": 4,
        "input_moment": shares,
        "input_mean": shares,
        "weight_shape": (4, 2),
        "parameters": 8,
    }


def write_run(folder: Path, *, steps: int = 5, fall: float = 0.1, depth: int = 4) -> None:
    """A run whose Σ_x shrinks by `fall` from layer to layer and by 2 from step to step."""
    folder.mkdir(parents=True)
    for step in range(steps):
        found = network(depth, fall=fall * 0.5**step, step=10 * step, loss=2.0 * 0.5**step)
        write(found, folder / f"step_{step:08}.h5")

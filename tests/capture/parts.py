"""Networks that are measured in parts, and what it takes for two measurements to be the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from condcli.stats import ProbeStats

from .cases import CASES, CLASSES, labelled
from .reference import Batch

# What is no measurement, or one of the process alone.
APART = {"created", "command", "pass_seconds", "peak_memory_bytes"}
SIZES = (4, 3, 5, 2, 3)


class Experts(nn.Module):
    """Sends each example to the expert that its first number names; most batches leave one idle."""

    def __init__(self, *, computed: bool = False) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 6)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 4), nn.ReLU()) for _ in range(3))
        if computed:
            weight_norm(self.experts[1][0])
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        number, x = x[:, 0].long(), torch.tanh(self.stem(x))
        out = x.new_zeros(len(x), 4)
        for i, expert in enumerate(self.experts):
            if (number == i).any():
                out[number == i] = expert(x[number == i])
        return self.head(out)


def routed() -> list[Batch]:
    """The second expert first runs in the third batch, the third one in the second."""
    batches = labelled(6, sizes=SIZES)()
    for (x, _), experts in zip(batches, ([0], [0, 2], [0, 1], [2], [0, 1, 2]), strict=True):
        x[:, 0] = torch.tensor(experts).repeat(5)[: len(x)].float()
    return batches


class Noisy(nn.Module):
    """Draws random numbers, as a variational autoencoder does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + torch.randn_like(x))


def sentences() -> list[Batch]:
    """Tokens of which some have no label, and the first batch has few."""
    source = torch.Generator().manual_seed(0)
    batches = []
    for size in SIZES:
        tokens = torch.randint(7, (size, 5), generator=source)
        labels = (tokens + torch.randint(1, 7, (size, 5), generator=source)) % 7
        labels[torch.rand(size, 5, generator=source) < (0.3 if batches else 0.9)] = -100
        batches.append((tokens, labels))
    return batches


@dataclass(frozen=True)
class Net:
    """A network with its batches, and how it is probed."""

    build: Callable[..., nn.Module]
    batches: Callable[[], list[Batch]]
    options: dict[str, Any] = field(default_factory=dict)

    def model(self) -> nn.Module:
        torch.manual_seed(3)
        return self.build()


def weight_normed() -> nn.Module:
    return nn.Sequential(weight_norm(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, CLASSES))


NETS = {
    "cnn with bn, batch statistics": Net(
        CASES["cnn with bn, batch statistics"].build, labelled(2, 6, 6, sizes=SIZES)
    ),
    "cnn with bn, running statistics": Net(
        CASES["cnn with bn, batch statistics"].build,
        labelled(2, 6, 6, sizes=SIZES),
        {"norm": "running", "conv": "patches"},
    ),
    "grouped convolution": Net(
        CASES["conv2d grouped"].build, labelled(4, 4, 4, sizes=SIZES), {"conv": "patches"}
    ),
    "grouped transposed convolution": Net(
        CASES["conv_transpose2d grouped"].build, labelled(4, 2, 2, sizes=SIZES), {"conv": "patches"}
    ),
    "language model": Net(CASES["language model, head tied to the embedding"].build, sentences),
    "experts": Net(Experts, routed),
    "drawn labels": Net(
        CASES["cnn with bn, batch statistics"].build,
        labelled(2, 6, 6, sizes=SIZES),
        {"fisher": "mc", "mc_samples": 2, "conv": "patches"},
    ),
    "drawn tokens, reduced": Net(
        CASES["language model, head tied to the embedding"].build,
        sentences,
        {"fisher": "mc", "conv": "reduce"},
    ),
    "all labels, reduced": Net(
        CASES["cnn with bn, batch statistics"].build,
        labelled(2, 6, 6, sizes=SIZES),
        {"fisher": "exact", "conv": "reduce", "norm": "running"},
    ),
    "noise": Net(Noisy, labelled(6, sizes=SIZES)),
    "computed weight": Net(weight_normed, labelled(6, sizes=SIZES)),
    "regression": Net(
        lambda: nn.Sequential(nn.Linear(6, 4), nn.Sigmoid(), nn.Linear(4, 2)),
        lambda: [(x, x[:, :2] ** 2) for x, _ in labelled(6, sizes=SIZES)()],
    ),
}


# Wider than max_dim: rows that are kept, and sketches.
WIDE = {
    name: Net(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, groups=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(64, CLASSES)
        ),
        labelled(2, 4, 4, sizes=SIZES),
        {"conv": "patches", "max_dim": max_dim, "per_example": "none"},
    )
    for name, max_dim in (("kept rows", 20), ("sketches", 7))
}


def assert_same(stats: ProbeStats, whole: ProbeStats, *, apart: Sequence[str] = ()) -> None:
    """Every field of every record, floats to 1e-10."""
    assert_records_same(stats.provenance, whole.provenance, APART)
    for section in ("layers", "activations", "skipped"):
        records, others = getattr(stats, section), getattr(whole, section)
        assert list(records) == list(others)
        for name, record in records.items():
            assert_records_same(record, others[name], apart)


def assert_records_same(record: Any, other: Any, apart: Sequence[str] | set[str]) -> None:
    for item in fields(record):
        mine, theirs = getattr(record, item.name), getattr(other, item.name)
        if item.name in apart:
            continue
        if isinstance(theirs, np.ndarray | float):
            scale = np.abs(theirs).max(initial=0) if isinstance(theirs, np.ndarray) else theirs
            np.testing.assert_allclose(
                mine, theirs, rtol=1e-10, atol=1e-10 * abs(scale), err_msg=item.name
            )
        else:
            assert mine == theirs, item.name

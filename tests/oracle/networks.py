"""The small networks on which condcli and its peers are compared, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLASSES = 3

Network = Callable[[], nn.Sequential]


def mlp() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, CLASSES, bias=False)
    ).double()


def cnn() -> nn.Sequential:
    torch.manual_seed(6)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Conv2d(3, 4, 2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    ).double()


class MeanToken(nn.Module):
    """The mean over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def tokens() -> nn.Sequential:
    torch.manual_seed(8)
    return nn.Sequential(
        nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5), nn.ReLU(), MeanToken(), nn.Linear(5, CLASSES)
    ).double()


def inputs(model: nn.Module, examples: int = 7) -> Tensor:
    torch.manual_seed(7)
    of_linear = {5: (5,), 3: (6, 3)}  # features; tokens
    shape = of_linear.get(getattr(model[0], "in_features", 0), (2, 4, 6))
    return torch.randn(examples, *shape, dtype=torch.float64)


def labels(examples: int = 7) -> Tensor:
    return torch.arange(examples) % CLASSES


def weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Layer name → weight matrix, for every layer that has one."""
    return {
        name.removesuffix(".weight"): parameter
        for name, parameter in model.named_parameters()
        if name.endswith("weight")
    }

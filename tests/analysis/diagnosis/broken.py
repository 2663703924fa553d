"""Small networks on the digits that come with condcli, each broken in one way on purpose."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

import condcli
from condcli.analysis.diagnosis import Finding, diagnose
from condcli.data import open_data
from condcli.stats import ProbeStats

WIDTH = 32


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """1,024 digits with pixels of mean 0 and deviation 1, and their labels."""
    found = open_data("digits", split="train", samples=1024, normalize="0.3051/0.375")
    inputs, labels = next(found.batches(found.examples))
    return inputs.flatten(1), labels


def mlp(depth: int, *, norm: bool = False, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """`depth` linear layers, He's initialisation."""
    layers: list[nn.Module] = []
    sizes = [64, *[WIDTH] * (depth - 1)]
    for d_in in sizes[:-1]:
        layers += [linear(d_in, WIDTH), *([nn.BatchNorm1d(WIDTH)] if norm else []), act()]
    return nn.Sequential(*layers, linear(sizes[-1], 10))


def linear(d_in: int, d_out: int) -> nn.Linear:
    layer = nn.Linear(d_in, d_out)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def train(
    model: nn.Module, inputs: Tensor, labels: Tensor, *, steps: int = 100, rate: float = 0.1
) -> nn.Module:
    """The network after so many steps of SGD on batches of 128."""
    optimizer = torch.optim.SGD(model.parameters(), rate)
    for step in range(steps):
        chosen = torch.arange(128 * step, 128 * (step + 1)) % len(labels)
        loss = functional.cross_entropy(model(inputs[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def probed(model: nn.Module, inputs: Tensor, labels: Tensor) -> ProbeStats:
    return condcli.probe(model, (inputs, labels), per_example="none")


def findings(model: nn.Module, inputs: Tensor, labels: Tensor) -> list[Finding]:
    return diagnose(probed(model, inputs, labels))


class Frozen(nn.Module):
    """The lower half runs without gradients, as in a forward that calls no_grad."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.Sequential(*mlp(3)[:4]), nn.Sequential(*mlp(3)[2:])

    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x).detach())


def frozen() -> Sequence[Finding]:
    inputs, labels = digits()
    return findings(train(Frozen(), inputs, labels), inputs, labels)


def dead_half() -> Sequence[Finding]:
    inputs, labels = digits()
    model = mlp(4)
    with torch.no_grad():
        model[2].bias[: WIDTH // 2] = -100.0
    return findings(train(model, inputs, labels), inputs, labels)


def scaled(factor: float) -> Sequence[Finding]:
    inputs, labels = digits()
    model = mlp(10)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight *= factor
    return findings(model, inputs, labels)


def deep(depth: int = 100) -> Sequence[Finding]:
    inputs, labels = (tensor[:256] for tensor in digits())
    model = mlp(depth)
    for layer in model:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()  # PyTorch's own
    return findings(train(model, inputs, labels, steps=5), inputs, labels)


def unnormalised() -> Sequence[Finding]:
    inputs, labels = digits()
    raw = 255 * (0.375 * inputs + 0.3051)
    return findings(train(mlp(4), raw, labels, rate=1e-5), raw, labels)


def duplicated() -> Sequence[Finding]:
    inputs, labels = digits()
    inputs = inputs.clone()
    inputs[:, 30] = inputs[:, 27]
    return findings(train(mlp(4), inputs, labels), inputs, labels)


def noisy(share: float = 0.4) -> Sequence[Finding]:
    inputs, labels = digits()
    generator = torch.Generator().manual_seed(1)
    wrong = torch.rand(len(labels), generator=generator) < share
    labels = torch.where(wrong, torch.randint(0, 10, labels.shape, generator=generator), labels)
    return findings(train(mlp(4), inputs, labels), inputs, labels)


def constant() -> Sequence[Finding]:
    inputs, labels = digits()
    model = mlp(4)
    with torch.no_grad():
        for place in (2, 4, 6):
            model[place].weight.fill_(0.05)
    return findings(train(model, inputs, labels), inputs, labels)


def healthy(*, norm: bool) -> Sequence[Finding]:
    inputs, labels = digits()
    return findings(train(mlp(4, norm=norm), inputs, labels), inputs, labels)


def saturated() -> Sequence[Finding]:
    inputs, labels = digits()
    model = mlp(4, act=nn.Tanh)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight *= 20
    return findings(model, inputs, labels)

"""Models with the habits that break a capture, and their plain twins where they need one."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CLASSES = 3


class ResidualNet(nn.Module):
    """A stem and one residual block whose sum and ReLUs are done in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, CLASSES)
        self.in_place = True

    def forward(self, x: Tensor) -> Tensor:
        relu = torch.relu_ if self.in_place else torch.relu
        x = relu(self.stem(x))
        out = self.conv2(relu(self.conv1(x)))
        if self.in_place:
            out += x
        else:
            out = out + x
        return self.fc(relu(out).mean((2, 3)))


class TokenMLP(nn.Module):
    """Linear layers on (batch, tokens, features), then the mean over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 7)
        self.fc2 = nn.Linear(7, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x))).tanh().mean(1)


class ChannelsLastNet(nn.Module):
    """A convolution, then linear layers on (batch, height, width, channels), as in ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, padding=1)
        self.fc1 = nn.Linear(4, 5)
        self.fc2 = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        return self.fc2(functional.gelu(self.fc1(x))).tanh().mean((1, 2))


class InPlaceTokens(nn.Module):
    """In-place operations right after a linear layer with bias on 3-D input.

    Where torch makes that output a view, a hook on it is silently lost (pytorch#181832).
    """

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 7)
        self.fc2 = nn.Linear(7, CLASSES)
        self.in_place = True

    def forward(self, x: Tensor) -> Tensor:
        if self.in_place:
            return self.fc2(self.fc1(x).mul_(2).tanh_()).mul_(3).tanh_().mean(1)
        return (self.fc2((self.fc1(x) * 2).tanh()) * 3).tanh().mean(1)


class MaskedTokens(nn.Module):
    """Overwrites a part of a linear layer's output: δ is zero there."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 7)
        self.fc2 = nn.Linear(7, CLASSES)
        self.in_place = True

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        if self.in_place:
            h[:, 0] = 0.5
        else:
            h = torch.cat([torch.full_like(h[:, :1], 0.5), h[:, 1:]], 1)
        return self.fc2(h.tanh()).tanh().mean(1)


class TokenTagger(nn.Module):
    """Class scores for each token, (batch, classes, tokens) as nn.CrossEntropyLoss wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(5, 6, 3, padding=1)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.conv(x.transpose(1, 2)))
        return self.fc(h.transpose(1, 2)).transpose(1, 2)


class Routed(nn.Module):
    """Sends each row to one of two layers; the second sees nothing of some batches."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 4)
        self.right = nn.Linear(6, 4)
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        leftward = x[:, 0] > (0 if len(x) == 6 else -9)
        rows = torch.cat([self.left(x[leftward]), self.right(x[~leftward])])
        back = torch.cat([leftward.nonzero(), (~leftward).nonzero()])[:, 0].argsort()
        return self.fc(torch.tanh(rows[back]))


class OverwrittenInput(nn.Module):
    """Changes a frozen layer's input after the layer has read it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 6)
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h = self.frozen(x)
        return self.fc(torch.tanh(h + x.mul_(3)))


class Checkpointed(nn.Module):
    """A block whose forward runs a second time, in the backward."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.block = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 6))
        self.fc = nn.Linear(6, CLASSES)
        self.checkpoints = True

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        x = checkpoint(self.block, x, use_reentrant=False) if self.checkpoints else self.block(x)
        return self.fc(torch.tanh(x))


def frozen_first_layers() -> nn.Module:
    """An MLP of which only the last layer trains."""
    model = nn.Sequential(
        nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, CLASSES)
    )
    model[:3].requires_grad_(False)
    return model


def without_checkpoints(model: nn.Module) -> nn.Module:
    return _copy_with(model, "checkpoints")


def out_of_place(model: nn.Module) -> nn.Module:
    return _copy_with(model, "in_place")


def _copy_with(model: nn.Module, switch: str) -> nn.Module:
    """A copy of the model with ``switch`` off."""
    twin = deepcopy(model)
    setattr(twin, switch, False)
    return twin

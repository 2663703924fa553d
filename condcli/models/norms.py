"""What the zoo's networks normalise with, by name.

Of the numbers (N, C) or maps (N, C, H, W) that a linear map gives,

- bn: batch normalisation, each channel over all examples and places
- ln: layer normalisation, each example over all its channels and places
- gn: group normalisation, each example over `GROUPS` groups of channels
- in: instance normalisation, each map of each example over its places
- rms: as ln, but by the root of the mean square: nothing is subtracted, and there is no shift
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

GROUPS = 8  # or the largest divisor of it that divides the channels, too


class RMSNorm(nn.Module):
    """x over the root of the mean square of an example's numbers, times a weight a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Of x (N, C, …), the same shape."""
        scale = (x.square().flatten(1).mean(1) + 1e-5).rsqrt()  # (N,)
        shape = (-1, *[1] * (x.dim() - 1))
        return x * scale.view(shape) * self.weight.view(-1, *shape[2:])


# From a number of channels to the module; batch normalisation depends on the number of axes.
BY_EXAMPLE: Mapping[str, Callable[[int], nn.Module]] = {
    "ln": lambda channels: nn.GroupNorm(1, channels),
    "rms": RMSNorm,
    "gn": lambda channels: nn.GroupNorm(math.gcd(GROUPS, channels), channels),
    "in": lambda channels: nn.GroupNorm(channels, channels),
}

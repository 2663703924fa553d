"""PESTO: pitch from one frame of a constant-Q transform, with a Toeplitz last layer."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BINS, EDGE, PITCHES = 251, 16, 384
CHANNELS = (40, 30, 30, 10, 3)


class Toeplitz(nn.Conv1d):
    """A linear map whose matrix is constant along its diagonals, which is a convolution."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__(1, 1, d_in + d_out - 1, padding=d_out - 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.unsqueeze(1)).squeeze(1)


class Encoder(nn.Module):
    """(N, 1, bins) to the logits of the pitches (N, 384)."""

    def __init__(self) -> None:
        super().__init__()
        bins, wide = BINS - 2 * EDGE, CHANNELS[0]
        self.layernorm = nn.LayerNorm((1, bins))
        self.conv1 = nn.Sequential(nn.Conv1d(1, wide, 39, padding=19), nn.LeakyReLU(0.3))
        self.prefilt_layers = nn.ModuleList(
            nn.Sequential(nn.Conv1d(wide, wide, 39, padding=19), nn.LeakyReLU(0.3))
            for _ in range(2)
        )
        self.conv_layers = nn.Sequential()
        for d_in, d_out in pairwise(CHANNELS):
            self.conv_layers += nn.Sequential(
                nn.Conv1d(d_in, d_out, 1), nn.LeakyReLU(0.3), nn.Dropout(0.2)
            )
        self.fc = Toeplitz(bins * CHANNELS[-1], PITCHES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.layernorm(x))
        for layer in self.prefilt_layers:
            x = x + layer(x)
        logits: Tensor = self.fc(self.conv_layers(x).flatten(1))
        return logits


class Confidence(nn.Module):
    """Energies (N, bins) to the logit of there being a pitch (N,)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 39, stride=3)
        self.linear = nn.Linear(72, 1)

    def forward(self, energy: Tensor) -> Tensor:
        flatness = energy.log().mean(-1, keepdim=True).exp() / energy.mean(-1, keepdim=True)
        x = F.relu(self.conv(energy[:, None])[:, 0])
        logit: Tensor = self.linear(torch.cat((x, flatness), -1))
        return logit.squeeze(-1)


class Pesto(nn.Module):
    """Log energies (N, 1, 251) to the logits of the pitches, and to that of having one."""

    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.confidence = Confidence()
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(x[..., EDGE:-EDGE]), self.confidence(x[:, 0].exp())


def build() -> nn.Module:
    return Pesto()

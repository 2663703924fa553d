"""DistillMOS: how good does speech sound? Convolutions over a spectrogram, then a transformer."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = (2, 64, 64, 128, 256, 256, 256)
FEATURES, WIDTH, FRAMES = 1024, 200, 384
HOP, WINDOW = 160, 320  # 10 and 20 ms
SAMPLES = 2 * FRAMES * HOP


def spectrogram(sound: Tensor) -> Tensor:
    """(N, samples) to the compressed real and imaginary parts (N, 2, bins, frames)."""
    window = torch.hann_window(WINDOW, dtype=sound.dtype, device=sound.device)
    sound = F.pad(sound, (HOP // 2, HOP // 2), "reflect")
    waves = torch.stft(sound, WINDOW, HOP, window=window, center=False, return_complex=True)
    parts = torch.view_as_real(waves).permute(0, 3, 1, 2)
    size = parts.norm(dim=1, keepdim=True).clip(1e-12)
    compressed: Tensor = size**0.3 * parts / size
    return compressed


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential()
        for number, (d_in, d_out) in enumerate(pairwise(CHANNELS)):
            stride = (1 if number == 0 else 2, 2 if number == 5 else 1)
            conv = nn.Conv2d(d_in, d_out, 3, stride=stride, padding=(0, 1))
            self.cnn += nn.Sequential(conv, nn.LeakyReLU(0.1))

    def forward(self, sound: Tensor) -> Tensor:
        x: Tensor = self.cnn(spectrogram(sound))
        return x.flatten(1, 2)


class Positions(nn.Module):
    """Adds the table of positions that the checkpoint holds."""

    pe: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pe", torch.zeros(1, FRAMES, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(FEATURES)
        self.position_encoding = Positions()
        self.linear_proj = nn.Linear(FEATURES, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 8, 2 * WIDTH, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(layer, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear_proj(self.norm(x).transpose(1, 2))
        y: Tensor = self.transformer_encoder(self.position_encoding(x))
        return y


class Pool(nn.Module):
    """One number an example from its frames, weighted by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1 = nn.Linear(WIDTH, 2 * WIDTH)
        self.linear2 = nn.Linear(2 * WIDTH, 1)
        self.linear3 = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.linear2(F.relu(self.linear1(x))).softmax(1)
        y: Tensor = self.linear3((weights * x).sum(1))
        return y


class Quality(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm_input = nn.BatchNorm1d(FEATURES)
        self.transformer = Transformer()
        self.norm_trans = nn.BatchNorm1d(WIDTH)
        self.pool = Pool()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_trans(self.transformer(self.norm_input(x)).transpose(1, 2)).transpose(1, 2)
        y: Tensor = self.pool(x).sigmoid()
        return y


class DistillMos(nn.Module):
    """Sound (N, 122880) at 16 kHz to a mean opinion score from 1 to 5 (N, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = Convolutions()
        self.transformer_pool_attn = Quality()

    def forward(self, sound: Tensor) -> Tensor:
        sound = sound / (sound.abs().amax(1, keepdim=True) + 1e-8)
        quality: Tensor = self.transformer_pool_attn(self.cnn(sound))
        return 1 + 4 * quality


def build() -> nn.Module:
    return DistillMos()

"""Silero VAD as its TorchScript program names it: one network for 16 kHz, one for 8 kHz."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Transform(nn.Module):
    """A short-time Fourier transform by convolution; its waves are a buffer, not learned."""

    forward_basis_buffer: Tensor

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins, self.hop = bins, bins - 1
        self.register_buffer("forward_basis_buffer", torch.zeros(2 * bins, 1, 2 * self.hop))

    def forward(self, sound: Tensor) -> Tensor:
        sound = F.pad(sound, (0, self.hop // 2), "reflect")[:, None]
        waves = F.conv1d(sound, self.forward_basis_buffer, stride=self.hop)
        return torch.hypot(waves[:, : self.bins], waves[:, self.bins :])


class Block(nn.Module):
    def __init__(self, d_in: int, d_out: int, stride: int) -> None:
        super().__init__()
        self.reparam_conv = nn.Conv1d(d_in, d_out, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.reparam_conv(x))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTMCell(128, 128)
        self.decoder = nn.Sequential(nn.Dropout(0.1), nn.ReLU(), nn.Conv1d(128, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.rnn(x)
        logit: Tensor = self.decoder(h[..., None])
        return logit.flatten(1)


class Detector(nn.Module):
    """Sound (N, 4.5 hops) to the logit of speech (N, 1)."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.stft = Transform(bins)
        sizes = ((bins, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1))
        self.encoder = nn.Sequential(*(Block(*size) for size in sizes))
        self.decoder = Decoder()

    def forward(self, sound: Tensor) -> Tensor:
        logit: Tensor = self.decoder(self.encoder(self.stft(sound))[..., 0])
        return logit


class Detectors(nn.Module):
    """Sound (N, 576) at 16 kHz to the logits of speech of both networks (N, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self._model = Detector(129)
        self._model_8k = Detector(65)

    def forward(self, sound: Tensor) -> Tensor:
        return torch.cat((self._model(sound), self._model_8k(sound[:, ::2])), 1)


def build() -> nn.Module:
    return Detectors()

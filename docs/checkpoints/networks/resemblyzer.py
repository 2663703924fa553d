"""Resemblyzer: who speaks? A three-layer LSTM, trained to tell a batch's speakers apart."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UTTERANCES = 4  # of each speaker, one after the other


class Resemblyzer(nn.Module):
    """Mel spectrograms (N, T, 40) to each one's likeness to the batch's speakers (N, N / 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.similarity_weight = nn.Parameter(torch.ones(1))
        self.similarity_bias = nn.Parameter(torch.zeros(1))
        self.lstm = nn.LSTM(40, 256, num_layers=3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: Tensor) -> Tensor:
        _, (h, _) = self.lstm(mels)
        voices = F.normalize(F.relu(self.linear(h[-1])), dim=1)
        speakers = F.normalize(voices.unflatten(0, (-1, UTTERANCES)).mean(1), dim=1)
        return self.similarity_weight * (voices @ speakers.T) + self.similarity_bias


def build() -> nn.Module:
    return Resemblyzer()

"""AttaCut: where Thai words begin; embedded characters and syllables, then 1-D convolutions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Filter(nn.Module):
    """A dilated convolution that keeps the length, and its normalisation."""

    def __init__(self, d_in: int, d_out: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(d_in, d_out, kernel, padding="same", dilation=dilation)
        self.bn = nn.BatchNorm1d(d_out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x))
        return y


class AttaCut(nn.Module):
    """Characters and their syllables (N, 2, T) to the logit of a word's beginning (N, T)."""

    def __init__(self, characters: int = 139, syllables: int = 6227) -> None:
        super().__init__()
        self.ch_embeddings = nn.Embedding(characters, 32, padding_idx=0)
        self.sy_embeddings = nn.Embedding(syllables, 16, padding_idx=0)
        self.conv1 = Filter(48, 64, 3)
        self.conv2 = Filter(48, 64, 5, dilation=3)
        self.conv3 = Filter(48, 64, 9, dilation=2)
        self.linear1 = nn.Linear(64, 32)
        self.linear2 = nn.Linear(32, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        embedded = (self.ch_embeddings(tokens[:, 0]), self.sy_embeddings(tokens[:, 1]))
        x = torch.cat(embedded, 2).transpose(1, 2)
        x = torch.stack((self.conv1(x), self.conv2(x), self.conv3(x))).amax(0).transpose(1, 2)
        logits: Tensor = self.linear2(F.relu(self.linear1(x)))
        return logits.squeeze(2)


def build() -> nn.Module:
    return AttaCut()

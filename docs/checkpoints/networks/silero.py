"""Silero VAD at 16 kHz: is there speech in 32 ms of sound? Convolutions, then an LSTM cell."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BINS = 129


class Silero(nn.Module):
    """Sound (N, 576) to the logit of speech (N, 1), the LSTM starting from nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * BINS, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(BINS, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, sound: Tensor) -> Tensor:
        waves = self.stft_conv(F.pad(sound, (0, 64), "reflect")[:, None])
        x = torch.hypot(waves[:, :BINS], waves[:, BINS:])
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.relu(conv(x))
        h, _ = self.lstm_cell(x[..., 0])
        logit: Tensor = self.final_conv(F.relu(h)[..., None])
        return logit.flatten(1)


def build() -> nn.Module:
    return Silero()

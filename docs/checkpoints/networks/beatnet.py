"""BeatNet: beats and downbeats in music; a convolution over frequency, then a two-layer LSTM."""

import torch.nn.functional as F
from torch import Tensor, nn

FEATURES, CELLS = 272, 150


class BeatNet(nn.Module):
    """Features (N, T, 272) to the logits of beat, downbeat and neither (N, 3, T).

    The package's own class keeps the LSTM's state from one call to the next, for live sound; here
    each excerpt starts from nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, 2, 10)
        self.linear0 = nn.Linear(2 * ((FEATURES - 9) // 2), CELLS)
        self.lstm = nn.LSTM(CELLS, CELLS, num_layers=2, batch_first=True)
        self.linear = nn.Linear(CELLS, 3)

    def forward(self, features: Tensor) -> Tensor:
        x = self.conv1(features.reshape(-1, 1, FEATURES))
        x = self.linear0(F.max_pool1d(F.relu(x), 2).flatten(1))
        x, _ = self.lstm(x.reshape(*features.shape[:2], CELLS))
        logits: Tensor = self.linear(x)
        return logits.transpose(1, 2)


def build() -> nn.Module:
    return BeatNet()

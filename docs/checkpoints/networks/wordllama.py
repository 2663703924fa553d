"""WordLlama: a sentence is the mean of its words' embeddings."""

import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 0.05


class WordLlama(nn.Module):
    """Pairs of sentences' tokens (N, 2, T), 0 for none, to each first's likeness to every second.

    The scores (N, N) are those of the contrastive loss that such embeddings are trained with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32000, 256)

    def forward(self, pairs: Tensor) -> Tensor:
        known = (pairs > 0)[..., None]
        means = (self.embedding(pairs) * known).sum(2) / known.sum(2)
        first, second = F.normalize(means, dim=2).unbind(1)
        return first @ second.T / TEMPERATURE


def build() -> nn.Module:
    return WordLlama()

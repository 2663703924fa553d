"""The networks, with seeded random weights; all take examples first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SEED = 0


def mlp(*, depth: int = 20, width: int = 256, classes: int = 10) -> nn.Module:
    """``depth`` linear layers of ``width`` features with ReLUs between them."""
    from condcli.models import ZOO

    torch.manual_seed(SEED)
    return ZOO["mlp"](inputs=width, depth=depth, width=width, classes=classes, init="he")


def cifar_resnet(*, depth: int = 20, width: int = 16) -> nn.Module:
    """He et al.'s ResNet for 3 × 32 × 32 images and 10 classes."""
    from condcli.models import ZOO

    torch.manual_seed(SEED)
    return ZOO["resnet"](depth=depth, width=width)


def torchvision_resnet(name: str) -> nn.Module:
    """torchvision's ResNet of that name, for 3 × 224 × 224 images and 1000 classes."""
    from torchvision import models

    torch.manual_seed(SEED)
    model: nn.Module = models.get_model(name)
    return model


class Block(nn.Module):
    """A pre-norm transformer block with causal self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x, (N, T, width), after attention and feed-forward."""
        n, t, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(attended.transpose(1, 2).reshape(n, t, width))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Tokens (N, T) to logits (N, T, vocabulary)."""

    def __init__(self, *, depth: int, width: int, heads: int, vocabulary: int, length: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """The logits of the next token at each place."""
        logits: Tensor = self.head(self.norm(self.blocks(self.tokens(tokens) + self.places)))
        return logits


def gpt(*, depth: int = 4, width: int = 256) -> nn.Module:
    """A GPT with 4 heads, a vocabulary of 1000, and sequences of 128."""
    torch.manual_seed(SEED)
    return GPT(depth=depth, width=width, heads=4, vocabulary=1000, length=128)

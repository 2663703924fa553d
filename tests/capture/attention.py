"""Networks with nn.MultiheadAttention, and their plain twins of four nn.Linear and a softmax."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, HEADS, CLASSES = 6, 2, 3


class PlainAttention(nn.Module):
    """nn.MultiheadAttention by its formula, without dropout, on the weights of ``attention``."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        if attention.in_proj_weight is None:
            weights = [getattr(attention, f"{part}_proj_weight") for part in "qkv"]
        else:
            weights = list(attention.in_proj_weight.split(attention.embed_dim))
        biases: list[Tensor | None] = [None] * 3
        if attention.in_proj_bias is not None:
            biases = list(attention.in_proj_bias.split(attention.embed_dim))
        self.heads, self.batch_first = attention.num_heads, attention.batch_first
        self.q_proj, self.k_proj, self.v_proj = map(linear_of, weights, biases)
        self.out_proj = linear_of(attention.out_proj.weight, attention.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, need_weights: bool = True
    ) -> tuple[Tensor, None]:
        q = self._heads(self.q_proj(query))
        k, v = self._heads(self.k_proj(key)), self._heads(self.v_proj(value))
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        return self.out_proj(mixed if self.batch_first else mixed.transpose(0, 1)), None

    def _heads(self, tokens: Tensor) -> Tensor:
        """Projected tokens as (batch, heads, tokens, width / heads)."""
        tokens = tokens if self.batch_first else tokens.transpose(0, 1)
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class SelfAttention(nn.Module):
    """One self-attention layer on (batch, tokens, WIDTH), then a linear head on the mean token."""

    def __init__(self, *, batch_first: bool, need_weights: bool = False) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first, dropout=0.3)
        nn.init.normal_(self.attn.in_proj_bias)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.need_weights = need_weights

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.attn.batch_first else x.transpose(0, 1)
        mixed, _ = self.attn(x, x, x, need_weights=self.need_weights)
        return self.head(torch.tanh(mixed).mean(1 if self.attn.batch_first else 0))


class CrossAttention(nn.Module):
    """The first two tokens ask, the others answer; keys and values may have their own widths."""

    def __init__(self, *, kdim: int = WIDTH, vdim: int = WIDTH, bias: bool = True) -> None:
        super().__init__()
        self.kdim, self.vdim = kdim, vdim
        self.attn = nn.MultiheadAttention(
            WIDTH, HEADS, kdim=kdim, vdim=vdim, bias=bias, batch_first=True
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        key = x[:, 2:, : self.kdim]
        value = key if self.kdim == self.vdim else x[:, 2:, : self.vdim]
        mixed, _ = self.attn(x[:, :2], key, value)
        return self.head(torch.tanh(mixed).mean(1))


class Encoder(nn.Module):
    """One post-norm encoder layer with its default dropout, which a probe turns off."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(WIDTH, HEADS, dim_feedforward=7, batch_first=True)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.block(x)).mean(1))


class PlainEncoder(nn.Module):
    def __init__(self, model: Encoder) -> None:
        super().__init__()
        self.block = nn.Module()
        self.block.self_attn = PlainAttention(model.block.self_attn)
        for part in ("linear1", "linear2", "norm1", "norm2"):
            setattr(self.block, part, getattr(model.block, part))
        self.head = model.head

    def forward(self, x: Tensor) -> Tensor:
        block = self.block
        x = block.norm1(x + block.self_attn(x, x, x)[0])
        x = block.norm2(x + block.linear2(functional.relu(block.linear1(x))))
        return self.head(torch.tanh(x).mean(1))


def with_plain_attention(model: nn.Module) -> nn.Module:
    """A copy of the model with PlainAttention as its attention layer ``attn``."""
    twin = deepcopy(model)
    twin.attn = PlainAttention(model.attn)
    return twin


def plain_encoder(model: nn.Module) -> nn.Module:
    assert isinstance(model, Encoder)
    return PlainEncoder(model)


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """An nn.Linear with copies of these parameters."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
    return linear

"""Networks of every kind, by their state_dicts, without memory for the weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from condcli.models.shapes import built_weightless
from condcli.models.vision import vision_network

# The smallest of each family of torchvision's.
VISION = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnet50", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_16",
    "wide_resnet50_2",
)  # fmt: skip


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=50, n_positions=8))


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return BertForSequenceClassification(BertConfig(**sizes, intermediate_size=32, vocab_size=50))


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = LlamaConfig(
        **sizes, intermediate_size=32, vocab_size=50, num_key_value_heads=2, head_dim=4
    )
    return LlamaForCausalLM(config)


class Free(nn.Module):
    """Tensors that belong to no layer, some under names that are no attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("inv_freq", torch.ones(4))
        self.register_buffer("index", torch.zeros(2, 3, dtype=torch.int64))
        self.register_buffer("allowed", torch.ones(2, dtype=torch.bool))
        self.register_parameter("per-channel", nn.Parameter(torch.ones(1, 3, 1)))
        self.vectors = nn.ParameterList([torch.ones(2), torch.ones(3)])
        self.heads = nn.ModuleDict({"day 1": nn.Linear(3, 2), "class": nn.Linear(3, 4)})


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "free tensors": Free,
    "lstm": lambda: nn.LSTM(5, 7, num_layers=3, bidirectional=True),
    "lstm with projection": lambda: nn.LSTM(5, 7, num_layers=2, proj_size=3),
    "gru without bias": lambda: nn.GRU(5, 7, bias=False),
    "rnn": lambda: nn.RNN(5, 5),
    "cells": lambda: nn.ModuleList([nn.LSTMCell(3, 4), nn.GRUCell(3, 4), nn.RNNCell(3, 4)]),
    "lstm tagger": lambda: nn.ModuleDict(
        {"embedding": nn.Embedding(30, 8), "lstm": nn.LSTM(8, 6), "tag": nn.Linear(6, 4)}
    ),
    "attention": lambda: nn.MultiheadAttention(12, 3, bias=False),
    "attention of other widths": lambda: nn.MultiheadAttention(12, 3, kdim=5, vdim=7),
    "attention with bias tokens": lambda: nn.MultiheadAttention(12, 3, add_bias_kv=True),
    "transformer": lambda: nn.Transformer(8, 2, 2, 2, 16, batch_first=True),
    "1d": lambda: nn.Sequential(
        nn.Conv1d(2, 6, 3), nn.GroupNorm(2, 6), nn.Conv1d(6, 6, 3, groups=6)
    ),
    "3d": lambda: nn.Sequential(nn.Conv3d(2, 4, (1, 3, 3)), nn.BatchNorm3d(4), nn.PReLU(4)),
    "transposed": lambda: nn.Sequential(
        nn.ConvTranspose2d(8, 4, 2), nn.ConvTranspose2d(4, 8, 4, groups=2)
    ),
    "weight norm": lambda: nn.Sequential(
        parametrizations.weight_norm(nn.Conv1d(2, 3, 5)),
        parametrizations.weight_norm(nn.Linear(3, 4), dim=1),
        parametrizations.weight_norm(nn.Linear(4, 4), dim=None),
    ),
    "hooked weight norm": lambda: nn.Sequential(
        nn.utils.weight_norm(nn.Conv1d(2, 3, 5)),
        nn.utils.weight_norm(nn.Linear(3, 4), dim=None),
    ),
    "spectral norm": lambda: nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(2, 3, 5)),
        parametrizations.spectral_norm(nn.ConvTranspose2d(3, 5, 2)),
        parametrizations.spectral_norm(nn.Linear(5, 4)),
    ),
    "hooked spectral norm": lambda: nn.Sequential(
        nn.utils.spectral_norm(nn.Conv2d(2, 3, 5)),
        nn.utils.spectral_norm(nn.ConvTranspose2d(3, 5, 2)),
    ),
    "orthogonal": lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4))),
    "norms": lambda: nn.ModuleList(
        [
            nn.RMSNorm(4), nn.LayerNorm((2, 3)), nn.LayerNorm(4, bias=False), nn.PReLU(),
            nn.BatchNorm1d(4, track_running_stats=False), nn.InstanceNorm2d(4, affine=True),
            nn.BatchNorm2d(4, affine=False), nn.Bilinear(2, 3, 4), nn.BatchNorm1d(3, eps=1),
        ]
    ),
    "a layer alone": lambda: nn.Linear(3, 2),
    "a sequence": lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)),
    "numbers far apart": lambda: nn.Sequential(
        *[nn.Identity()] * 9, nn.Linear(6, 4), *[nn.ReLU()] * 7, nn.Linear(4, 2)
    ),
    "gpt2": gpt2,
    "bert": bert,
    "llama": llama,
}  # fmt: skip


def state_of(name: str) -> dict[str, Tensor]:
    """The state_dict of one of the above."""
    if name in VISION:
        return dict(built_weightless(lambda: vision_network(name)).state_dict())
    return dict(LAYERS[name]().state_dict())

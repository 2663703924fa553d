"""Every number of a model is in one layer or in one thing that was skipped with a reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from torch import nn
from torchvision.models.convnext import CNBlockConfig

from condcli.api import probe
from condcli.stats import ProbeStats

from .cases import CASES
from .test_activations import Net

TOKENS, CLASSES = 8, 3
SIZES = {"num_attention_heads": 4, "num_hidden_layers": 2, "hidden_size": 16, "vocab_size": 64}


@pytest.mark.parametrize("name", CASES)
def test_the_parts_of_every_case_add_up(name: str) -> None:
    case = CASES[name]
    stats = probe(case.model(), case.batches(), loss=case.loss, norm=case.norm)
    assert_accounted(stats, case.model())
    vectors = [item for item in stats.skipped.values() if len(item.shape) < 2]
    assert all("a vector" in item.reason for item in vectors)


def _gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=64,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=16,
        bos_token_id=0,
        eos_token_id=0,
    )
    return transformers.GPT2LMHeadModel(config)


def _bert() -> nn.Module:
    config = transformers.BertConfig(
        **SIZES, intermediate_size=32, max_position_embeddings=16, num_labels=CLASSES
    )
    return transformers.BertForSequenceClassification(config)


def _llama() -> nn.Module:
    config = transformers.LlamaConfig(**SIZES, num_key_value_heads=2, intermediate_size=32)
    return transformers.LlamaForCausalLM(config)


# what is skipped, beside vectors
LANGUAGE_MODELS: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "gpt2": (_gpt2, {"transformer.wpe"}),  # the same for all examples
    "bert": (_bert, {"bert.embeddings.position_embeddings"}),
    "llama": (_llama, set()),
}
# the transformers with fewer and narrower blocks than their names' owners, for the time they take
VISION_MODELS: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "vit_b_16": (
        lambda: torchvision.models.VisionTransformer(32, 16, 2, 2, 16, 32, num_classes=CLASSES),
        {"class_token", "encoder.pos_embedding"},
    ),
    "swin_t": (
        lambda: torchvision.models.SwinTransformer(
            [4, 4], 12, [2, 2], [2, 4], [4, 4], num_classes=CLASSES
        ),
        {"relative_position_bias_table"},
    ),
    "convnext_tiny": (
        lambda: torchvision.models.ConvNeXt(
            [CNBlockConfig(12, 24, 1), CNBlockConfig(24, None, 2)], num_classes=CLASSES
        ),
        {"layer_scale"},
    ),
    "mobilenet_v3_small": (
        lambda: torchvision.models.mobilenet_v3_small(num_classes=CLASSES),
        set(),
    ),
    "efficientnet_b0": (lambda: torchvision.models.efficientnet_b0(num_classes=CLASSES), set()),
    "regnet_y_400mf": (lambda: torchvision.models.regnet_y_400mf(num_classes=CLASSES), set()),
    "timm's vit_tiny": (
        lambda: timm.create_model(
            "vit_tiny_patch16_224", img_size=32, depth=2, num_classes=CLASSES
        ),
        {"cls_token", "pos_embed"},
    ),
}


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_every_matrix_of_a_language_model_is_a_layer(name: str) -> None:
    build, skipped = LANGUAGE_MODELS[name]
    torch.manual_seed(0)
    model = build()
    x = torch.randint(64, (3, TOKENS))
    labels = x if name != "bert" else torch.arange(3)
    stats = probe(model, [({"input_ids": x}, labels)])
    assert_accounted(stats, model)
    assert_skipped(stats, skipped)
    kinds = {layer.kind for layer in stats.layers.values()}
    assert kinds == {"embedding", "linear"}


@pytest.mark.parametrize("name", VISION_MODELS)
def test_every_matrix_of_a_vision_model_is_a_layer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the singular values, which take most of the time and are not looked at here."""
    monkeypatch.setattr(
        "condcli.capture.layer.singular_values_of_each", lambda stacks: [np.zeros(1)] * len(stacks)
    )
    build, skipped = VISION_MODELS[name]
    model = build()
    stats = probe(
        model, (torch.randn(2, 3, 32, 32), torch.arange(2)), norm="running", per_example="none"
    )
    assert_accounted(stats, model)
    assert_skipped(stats, skipped)


def test_a_bias_counts_with_its_layer_and_one_of_several_once() -> None:
    shared = nn.Linear(6, 6)
    net = Net(
        lambda self, x: self.head(self.one(x) + self.other(x) + self.scale * x),
        one=shared,
        other=nn.Linear(6, 6),
        head=nn.Linear(6, CLASSES),
        idle=nn.Linear(6, 2),
        norm=nn.LayerNorm(6),
    )
    net.other.weight = shared.weight
    net.scale = nn.Parameter(torch.tensor(2.0))
    stats = probe(net, (torch.randn(5, 6), torch.arange(5) % CLASSES))
    numbers = {name: layer.parameters for name, layer in stats.layers.items()}
    assert numbers == {"one": 36 + 6 + 6, "head": 18 + 3}
    skipped = {name: (item.parameters, item.reason) for name, item in stats.skipped.items()}
    assert skipped == {
        "scale": (1, "a single number, not a linear map"),
        "idle": (14, "did not run"),
        "norm.weight": (6, "a vector, not a linear map"),
        "norm.bias": (6, "a vector, not a linear map"),
    }
    assert_accounted(stats, net)


def test_a_layer_left_out_takes_its_bias_along() -> None:
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES))
    stats = probe(net, (torch.randn(5, 6), torch.arange(5) % CLASSES), exclude=["0"])
    assert {name: item.parameters for name, item in stats.skipped.items()} == {"0": 35}
    assert "--exclude" in stats.skipped["0"].reason
    assert_accounted(stats, net)


def test_one_projection_of_an_attention_can_be_left_out() -> None:
    attention = nn.MultiheadAttention(6, 2, batch_first=True)
    net = Net(
        lambda self, x: self.head(self.attn(x, x, x)[0].mean(1)),
        attn=attention,
        head=nn.Linear(6, CLASSES),
    )
    stats = probe(net, (torch.randn(4, 5, 6), torch.arange(4) % CLASSES), exclude=["attn.k_proj"])
    assert {name: item.parameters for name, item in stats.skipped.items()} == {"attn.k_proj": 42}
    assert stats.layers["attn.q_proj"].parameters == 42
    assert_accounted(stats, net)


def assert_accounted(stats: ProbeStats, model: nn.Module) -> None:
    parts = [*stats.layers.values(), *stats.skipped.values()]
    total = sum(parameter.numel() for parameter in model.parameters())
    assert stats.provenance.parameters == total
    assert sum(part.parameters for part in parts) == total
    assert not set(stats.layers) & set(stats.skipped)
    assert all(item.reason for item in stats.skipped.values())


def assert_skipped(stats: ProbeStats, attributes: set[str]) -> None:
    """All matrices that were skipped are the parameters that end so."""
    matrices = [item.name for item in stats.skipped.values() if len(item.shape) > 1]
    odd = [name for name in matrices if not any(name.endswith(end) for end in attributes)]
    assert odd == []
    assert all(any(name.endswith(end) for name in matrices) for end in attributes)

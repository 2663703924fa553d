"""The models on which the capture engine is judged: a table of name → Case.

A model that the reference cannot read (functional calls, in-place operations, attention, …) has a
plain twin: the same network on the same weights, spelled in nn.Linear and nn.Conv*d modules whose
paths are the layer names that a probe must report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import attention, odd_models, shared_weights
from .convolutions import CONVOLUTIONS, ConvNet
from .reference import Batch

SEED = 20
CLASSES = 3  # of every network here


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model with its probe set, and how it is to be probed."""

    build: Callable[[], nn.Module]
    batches: Callable[[], list[Batch]]
    twin: Callable[[nn.Module], nn.Module] | None = None
    loss: str = "auto"
    norm: str = "batch"
    # False where no example has a gradient of its own that its rows tell: BN mixes the examples
    # of a batch, a tied embedding adds to the gradient without being a row
    examples_apart: bool = True
    # False where a layer's rows do not come example by example
    rows_by_example: bool = True

    def model(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return self.build()

    def plain(self, model: nn.Module) -> nn.Module:
        return model if self.twin is None else self.twin(model)


def labelled(*shape: int, sizes: Sequence[int] = (5,)) -> Callable[[], list[Batch]]:
    """Batches of standard normal inputs with class labels, one batch a size."""

    def make() -> list[Batch]:
        source = torch.Generator().manual_seed(SEED)
        return [
            (
                torch.randn(size, *shape, generator=source),
                torch.randint(CLASSES, (size,), generator=source),
            )
            for size in sizes
        ]

    return make


def with_targets(
    *shape: int, target: Callable[[torch.Generator], Tensor]
) -> Callable[[], list[Batch]]:
    """One batch of standard normal inputs, and targets from the same generator."""

    def make() -> list[Batch]:
        source = torch.Generator().manual_seed(SEED)
        return [(torch.randn(*shape, generator=source), target(source))]

    return make


def _mlp(*, act: type[nn.Module] = nn.ReLU, norm: bool = False) -> nn.Sequential:
    stages: list[nn.Module] = []
    for d_in, d_out in ((6, 8), (8, 5)):
        stages += [nn.Linear(d_in, d_out), *([nn.BatchNorm1d(d_out)] if norm else []), act()]
    return nn.Sequential(*stages, nn.Linear(5, CLASSES))


def _bn_mlp() -> nn.Sequential:
    """With running statistics that are not the probe set's, and dropout that must stay off."""
    model = _mlp(norm=True)
    model.insert(3, nn.Dropout(0.5))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.train()


def _bn_cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, stride=2),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    )


def _sparse_tokens(source: torch.Generator) -> Tensor:
    """Labels for 4 examples of 6 tokens, some of them ignored."""
    labels = torch.randint(CLASSES, (4, 6), generator=source)
    labels[0, 3:], labels[2, :5] = -100, -100
    return labels


MODELS: dict[str, Case] = {
    "mlp": Case(build=_mlp, batches=labelled(6)),
    "mlp of one linear layer": Case(build=lambda: nn.Linear(6, CLASSES), batches=labelled(6)),
    "mlp, uneven last batch": Case(build=_mlp, batches=labelled(6, sizes=(4, 4, 1))),
    "mlp, tanh": Case(build=lambda: _mlp(act=nn.Tanh), batches=labelled(6)),
    "mlp, sigmoid": Case(build=lambda: _mlp(act=nn.Sigmoid), batches=labelled(6)),
    "mlp, silu": Case(build=lambda: _mlp(act=nn.SiLU), batches=labelled(6)),
    "mlp, gelu": Case(build=lambda: _mlp(act=nn.GELU), batches=labelled(6)),
    "mlp, in-place relu": Case(
        build=lambda: _mlp(act=lambda: nn.ReLU(inplace=True)), batches=labelled(6)
    ),
    "mlp, mse": Case(
        build=_mlp,
        batches=with_targets(5, 6, target=lambda g: torch.randn(5, CLASSES, generator=g)),
        loss="auto",
    ),
    "mlp, bce": Case(
        build=_mlp,
        batches=with_targets(5, 6, target=lambda g: torch.rand(5, CLASSES, generator=g).round()),
        loss="bce",
    ),
    "mlp with bn, batch statistics": Case(
        build=_bn_mlp, batches=labelled(6, sizes=(6, 4)), examples_apart=False
    ),
    "mlp with bn, running statistics": Case(
        build=_bn_mlp, batches=labelled(6, sizes=(6, 4)), norm="running"
    ),
    "mlp with bn that keeps no statistics": Case(
        build=lambda: nn.Sequential(
            nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, CLASSES)
        ),
        batches=labelled(6),
        norm="running",
        examples_apart=False,
    ),
    "cnn with bn, batch statistics": Case(
        build=_bn_cnn, batches=labelled(2, 6, 6, sizes=(4, 3)), examples_apart=False
    ),
    "residual cnn, in-place sums": Case(
        build=odd_models.ResidualNet,
        twin=odd_models.out_of_place,
        batches=labelled(3, 4, 4),
    ),
    "linear on tokens": Case(build=odd_models.TokenMLP, batches=labelled(4, 6)),
    "linear on maps, channels last": Case(
        build=odd_models.ChannelsLastNet, batches=labelled(3, 3, 2)
    ),
    "linear on tokens, then in place": Case(
        build=odd_models.InPlaceTokens,
        twin=odd_models.out_of_place,
        batches=labelled(4, 6),
    ),
    "part of an output overwritten": Case(
        build=odd_models.MaskedTokens, twin=odd_models.out_of_place, batches=labelled(4, 6)
    ),
    "a batch without any label": Case(
        build=_mlp,
        batches=lambda: [*labelled(6)(), (torch.ones(3, 6), torch.full((3,), -100))],
    ),
    "language model, head tied to the embedding": Case(
        build=shared_weights.LanguageModel,
        batches=lambda: [(torch.arange(20).reshape(4, 5) % 7, torch.arange(20).reshape(4, 5) % 5)],
        examples_apart=False,
    ),
    "token classification, ignored labels": Case(
        build=odd_models.TokenTagger,
        batches=with_targets(4, 6, 5, target=_sparse_tokens),
    ),
    "pixel classification": Case(
        build=lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, CLASSES, 1)
        ),
        batches=with_targets(
            3, 2, 3, 4, target=lambda g: torch.randint(CLASSES, (3, 3, 4), generator=g)
        ),
    ),
    "image regression, mse": Case(
        build=lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 1)),
        batches=with_targets(3, 2, 3, 4, target=lambda g: torch.randn(3, 2, 3, 4, generator=g)),
        loss="mse",
    ),
    "layer called twice": Case(build=shared_weights.CalledTwice, batches=labelled(6)),
    "convolution called on single images": Case(
        build=shared_weights.SingleImages,
        twin=shared_weights.plain_single_images,
        batches=labelled(2, 4, 4),
        rows_by_example=False,
    ),
    "one kernel with two geometries": Case(
        build=shared_weights.TwoGeometries,
        twin=shared_weights.plain_two_geometries,
        batches=labelled(2, 4, 4),
    ),
    "a padding module's kernel used without its padding": Case(
        build=shared_weights.BorrowedKernel,
        twin=shared_weights.plain_borrowed_kernel,
        batches=labelled(2, 4, 4),
    ),
    "rows routed to one of two layers": Case(
        build=odd_models.Routed, batches=labelled(6, sizes=(6, 5)), rows_by_example=False
    ),
    "batches of images of different sizes": Case(
        build=lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=2, padding=1),
            nn.Tanh(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(12, CLASSES),
        ),
        batches=lambda: labelled(2, 6, 6)() + labelled(2, 5, 9, sizes=(3,))(),
    ),
    "convolution called on two sizes": Case(
        build=shared_weights.TwoSizes, batches=labelled(2, 6, 6)
    ),
    "tied weights": Case(
        build=shared_weights.TiedAutoencoder,
        batches=with_targets(5, 6, target=lambda g: torch.randn(5, 6, generator=g)),
    ),
    "functional linear and conv2d": Case(
        build=shared_weights.Functional,
        twin=shared_weights.plain_functional,
        batches=labelled(2, 4, 4),
    ),
    "huggingface conv1d": Case(
        build=shared_weights.Conv1DNet,
        twin=shared_weights.plain_conv1d_net,
        batches=labelled(4, 6),
        rows_by_example=False,
    ),
    "frozen first layers": Case(
        build=odd_models.frozen_first_layers,
        batches=labelled(6),
    ),
    "all parameters frozen": Case(build=lambda: _mlp().requires_grad_(False), batches=labelled(6)),
    "activation checkpointing": Case(
        build=odd_models.Checkpointed, twin=odd_models.without_checkpoints, batches=labelled(6)
    ),
    "bfloat16 weights": Case(build=lambda: _mlp().bfloat16(), batches=labelled(6)),
    "self-attention, batch first": Case(
        build=lambda: attention.SelfAttention(batch_first=True),
        twin=attention.with_plain_attention,
        batches=labelled(5, 6),
        rows_by_example=False,
    ),
    "self-attention, length first, weights asked for": Case(
        build=lambda: attention.SelfAttention(batch_first=False, need_weights=True),
        twin=attention.with_plain_attention,
        batches=labelled(5, 6),
        rows_by_example=False,
    ),
    "cross-attention": Case(
        build=attention.CrossAttention,
        twin=attention.with_plain_attention,
        batches=labelled(5, 6),
        rows_by_example=False,
    ),
    "cross-attention, keys and values of their own width": Case(
        build=lambda: attention.CrossAttention(kdim=4, vdim=3, bias=False),
        twin=attention.with_plain_attention,
        batches=labelled(5, 6),
        rows_by_example=False,
    ),
    "transformer encoder layer": Case(
        build=attention.Encoder,
        twin=attention.plain_encoder,
        batches=labelled(5, 6),
        rows_by_example=False,
    ),
    # without a gradient to keep, PyTorch would take its fused path, which shows no layers
    "transformer encoder layer, frozen": Case(
        build=lambda: attention.Encoder().requires_grad_(False),
        twin=attention.plain_encoder,
        batches=labelled(5, 6),
        rows_by_example=False,
    ),
}

CASES: dict[str, Case] = MODELS | {
    name: Case(
        build=lambda make=make, shape=shape: ConvNet(make(), *shape), batches=labelled(*shape)
    )
    for name, (make, shape) in CONVOLUTIONS.items()
}

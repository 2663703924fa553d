"""The zoo: networks by name, the paper's and a transformer; sizes read off a state_dict.

A network is added with one function, and one line in each of the two dicts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from condcli.models.shapes import Shapes
from condcli.models.zoo_cifar import (
    cifar_network,
    cifar_sizes,
    plain_stage,
    preactivation_stage,
    residual_stage,
)
from condcli.models.zoo_mlp import mlp, mlp_sizes
from condcli.models.zoo_transformer import Transformer, transformer_sizes

_CIFAR: dict[str, Callable[..., nn.Module]] = {
    "resnet": partial(cifar_network, stage=residual_stage),
    "resnet_lastbn": partial(cifar_network, stage=residual_stage, last_bn=True),
    "preresnet": partial(cifar_network, stage=preactivation_stage, last_bn=True),
    "preresnet_v1": partial(cifar_network, stage=preactivation_stage),
    "vgg_style": partial(cifar_network, stage=plain_stage),
    "vgg_style_lastbn": partial(cifar_network, stage=plain_stage, last_bn=True),
}

ZOO: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, **_CIFAR, "transformer": Transformer}

# From names and shapes to the factory's arguments, or None for the tensors of another network.
SIZES: dict[str, Callable[[Shapes], dict[str, object] | None]] = {
    "mlp": mlp_sizes,
    **dict.fromkeys(_CIFAR, cifar_sizes),
    "transformer": transformer_sizes,
}

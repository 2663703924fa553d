"""EfficientNet-Lite0: the package's class wants to be built by its class method."""

from efficientnet_lite_pytorch import EfficientNet
from torch import nn


def build() -> nn.Module:
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return network

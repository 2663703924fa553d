"""The paper's CIFAR networks of depth 6n + 2: a stem, three stages of 2n convolutions, one linear.

After He et al. 2015 (residual, https://arxiv.org/abs/1512.03385, section 4.2) and 2016
(pre-activation, https://arxiv.org/abs/1603.05027). They take (N, channels, H, W) images of any
size and give (N, classes).
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from condcli.errors import InputError
from condcli.models.norms import BY_EXAMPLE
from condcli.models.shapes import Shapes

NORMS = ("bn", "none", *BY_EXAMPLE)
DEEPEST = 10_000  # a checkpoint may claim any depth, and each layer takes time to build

# (n, channels in, channels out, norm) to the modules of one stage
Stage = Callable[[int, int, int, str], list[nn.Module]]


def cifar_network(
    *,
    stage: Stage,
    last_bn: bool = False,
    depth: int = 20,
    classes: int = 10,
    channels: int = 3,
    norm: str = "bn",
    width: int = 16,
) -> nn.Sequential:
    """The network of `depth` weighted layers whose stages have `width`, 2 and 4 times as many maps.

    `last_bn` puts a BN before the last linear layer: after the pooling, but in a pre-activation
    network before it (and the last ReLU), where He et al. have theirs. It stays with norm="none",
    which takes the other BNs away and gives the convolutions biases, and with those norms that
    take their place, see `condcli.models.norms`.
    """
    _check(depth=depth, norm=norm)
    preactivated = stage is preactivation_stage
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=_conv(channels, width, norm))
    if not preactivated:
        layers["stem_norm"], layers["stem_relu"] = _norm(width, norm), nn.ReLU()
    sizes = [width, width, 2 * width, 4 * width]
    for k in (1, 2, 3):
        layers[f"stage{k}"] = nn.Sequential(*stage(depth // 6, sizes[k - 1], sizes[k], norm))
    if preactivated and last_bn:
        layers["last_norm"] = nn.BatchNorm2d(sizes[-1])
    if preactivated:
        layers["last_relu"] = nn.ReLU()
    layers["pool"], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    if last_bn and not preactivated:
        layers["last_norm"] = nn.BatchNorm1d(sizes[-1])
    layers["fc"] = fc = nn.Linear(sizes[-1], classes)
    nn.init.zeros_(fc.bias)
    return nn.Sequential(layers)


def residual_stage(n: int, channels_in: int, channels_out: int, norm: str) -> list[nn.Module]:
    """n residual blocks of two convolutions each."""
    sizes = [channels_in, *[channels_out] * n]
    return [ResidualBlock(sizes[i], channels_out, norm) for i in range(n)]


def preactivation_stage(n: int, channels_in: int, channels_out: int, norm: str) -> list[nn.Module]:
    """n pre-activation blocks of two convolutions each."""
    sizes = [channels_in, *[channels_out] * n]
    return [PreActivationBlock(sizes[i], channels_out, norm, first=i == 0) for i in range(n)]


def plain_stage(n: int, channels_in: int, channels_out: int, norm: str) -> list[nn.Module]:
    """2n convolutions, each with its norm and ReLU: VGG's style."""
    sizes = [channels_in, *[channels_out] * 2 * n]
    return [_plain_layer(sizes[i], channels_out, norm) for i in range(2 * n)]


class ResidualBlock(nn.Module):
    """ReLU(shortcut(x) + norm(conv(ReLU(norm(conv(x))))))."""

    def __init__(self, channels_in: int, channels_out: int, norm: str) -> None:
        super().__init__()
        self.stride = channels_out // channels_in  # a stage that doubles the maps halves the image
        self.conv1 = _conv(channels_in, channels_out, norm, self.stride)
        self.norm1 = _norm(channels_out, norm)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(channels_out, channels_out, norm)
        self.norm2 = _norm(channels_out, norm)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        h = self.relu1(self.norm1(self.conv1(x)))
        h = self.norm2(self.conv2(h))
        output: Tensor = self.relu2(h + _shortcut(x, h, self.stride))
        return output


class PreActivationBlock(nn.Module):
    """shortcut + conv(ReLU(norm(conv(x̂)))) with x̂ = ReLU(norm(x)).

    The shortcut starts from x̂ in a stage's first block, from x elsewhere: so does the paper's code.
    """

    def __init__(self, channels_in: int, channels_out: int, norm: str, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.stride = channels_out // channels_in
        self.norm1 = _norm(channels_in, norm)
        self.relu1 = nn.ReLU()
        self.conv1 = _conv(channels_in, channels_out, norm, self.stride)
        self.norm2 = _norm(channels_out, norm)
        self.relu2 = nn.ReLU()
        self.conv2 = _conv(channels_out, channels_out, norm)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        activated: Tensor = self.relu1(self.norm1(x))
        h: Tensor = self.conv2(self.relu2(self.norm2(self.conv1(activated))))
        return h + _shortcut(activated if self.first else x, h, self.stride)


def cifar_sizes(shapes: Shapes) -> dict[str, object] | None:
    """The arguments that a state_dict's names and shapes tell, or None for another network."""
    found = (re.match(r"stage1\.(\d+)\.conv", name) for name in shapes)
    modules = [int(match[1]) + 1 for match in found if match]
    if not modules:
        return None
    plain = "stage1.0.conv.weight" in shapes
    n = math.ceil(max(modules) / 2) if plain else max(modules)
    sizes: dict[str, object] = {"depth": 6 * n + 2, "norm": _norm_of(shapes)}
    stem, fc = shapes.get("stem.weight", ()), shapes.get("fc.weight", ())
    if len(stem) == 4:
        sizes |= {"channels": stem[1], "width": stem[0]}
    return sizes | ({"classes": fc[0]} if len(fc) == 2 else {})


def _check(*, depth: int, norm: str) -> None:
    if not 8 <= depth <= DEEPEST or depth % 6 != 2:
        raise InputError(
            f"a CIFAR network cannot have depth {depth}",
            "give a depth of 6n + 2, such as 20, 56, 110 or 1202",
        )
    if norm not in NORMS:
        raise InputError(f"a CIFAR network has no norm '{norm}'", f"choose from {', '.join(NORMS)}")


def _norm_of(shapes: Shapes) -> str:
    """The norm by the names of the first block's tensors."""
    if any(re.match(r"stage1\.0\.conv1?\.bias", name) for name in shapes):
        return "none"
    found = (re.match(r"stage1\.0\.norm1?\.([a-z]+)\.weight", name) for name in shapes)
    return next((match[1] for match in found if match), "bn")


def _plain_layer(channels_in: int, channels_out: int, norm: str) -> nn.Sequential:
    conv = _conv(channels_in, channels_out, norm, channels_out // channels_in)
    return nn.Sequential(OrderedDict(conv=conv, norm=_norm(channels_out, norm), relu=nn.ReLU()))


def _conv(channels_in: int, channels_out: int, norm: str, stride: int = 1) -> nn.Conv2d:
    """3 × 3, weights from N(0, 2/(9 channels_out)); zero biases where no norm follows."""
    conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=norm == "none")
    nn.init.normal_(conv.weight, std=math.sqrt(2 / (9 * channels_out)))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _norm(channels: int, norm: str) -> nn.Module:
    if norm == "bn":
        return nn.BatchNorm2d(channels)
    if norm == "none":
        return nn.Identity()
    # Under its name, by which a state_dict tells apart those with tensors of the same shapes.
    return nn.Sequential(OrderedDict({norm: BY_EXAMPLE[norm](channels)}))


def _shortcut(x: Tensor, h: Tensor, stride: int) -> Tensor:
    """Option A: x subsampled to h's size, then padded with zero maps to h's channels."""
    return functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, h.shape[1] - x.shape[1]))

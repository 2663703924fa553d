"""The paper's multilayer perceptron."""

from __future__ import annotations

import re
from collections import OrderedDict

from torch import nn

from condcli.errors import InputError
from condcli.models.shapes import Shapes

NORMS = ("none", "bn")
INITS = ("default", "he", "orthogonal")


def mlp(
    *,
    inputs: int = 784,
    classes: int = 10,
    depth: int = 20,
    width: int = 256,
    norm: str = "none",
    init: str = "default",
) -> nn.Sequential:
    """`depth` linear layers fc1, fc2, …, each but the last followed by [BN and] ReLU.

    Inputs of any shape (N, …) with `inputs` numbers each are flattened; the output is
    (N, classes). `init` sets the weights:

    - default: PyTorch's own (and Torch7's, which the paper used): weights and biases from
      U(-1/√d_in, 1/√d_in), so the variance, 1/(3 d_in), scales as LeCun's
    - he: N(0, 2/d_in), biases zero
    - orthogonal: (semi-)orthogonal, gain 1, biases zero
    """
    _check(depth=depth, norm=norm, init=init)
    sizes = [inputs, *[width] * (depth - 1)]
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for k, d_in in enumerate(sizes[:-1], start=1):
        layers[f"fc{k}"] = _linear(d_in, width, init)
        if norm == "bn":
            layers[f"bn{k}"] = nn.BatchNorm1d(width)
        layers[f"relu{k}"] = nn.ReLU()
    layers[f"fc{depth}"] = _linear(sizes[-1], classes, init)
    return nn.Sequential(layers)


def mlp_sizes(shapes: Shapes) -> dict[str, object] | None:
    """The arguments of `mlp` that a state_dict's names and shapes tell, or None if it is no mlp."""
    depth = sum(re.fullmatch(r"fc\d+\.weight", name) is not None for name in shapes)
    first, last = shapes.get("fc1.weight", ()), shapes.get(f"fc{depth}.weight", ())
    if len(first) != 2 or len(last) != 2:
        return None
    sizes: dict[str, object] = {"inputs": first[1], "classes": last[0], "depth": depth}
    if depth > 1:
        sizes["width"] = first[0]
    return sizes | {"norm": "bn" if "bn1.weight" in shapes else "none"}


def _check(*, depth: int, norm: str, init: str) -> None:
    if depth < 1:
        raise InputError(f"an mlp cannot have depth {depth}", "give a depth of 1 or more")
    if norm not in NORMS:
        raise InputError(f"an mlp has no norm '{norm}'", f"choose from {', '.join(NORMS)}")
    if init not in INITS:
        raise InputError(f"an mlp has no init '{init}'", f"choose from {', '.join(INITS)}")


def _linear(d_in: int, d_out: int, init: str) -> nn.Linear:
    layer = nn.Linear(d_in, d_out)
    if init == "he":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    elif init == "orthogonal":
        nn.init.orthogonal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer

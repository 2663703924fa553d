"""The paper's multilayer perceptron."""

from __future__ import annotations

import re
from collections import OrderedDict

from torch import nn

from condcli.errors import InputError
from condcli.models.norms import BY_EXAMPLE
from condcli.models.shapes import Shapes

NORMS = ("none", "bn", "ln", "rms", "gn")  # not in: a neuron of one example is one number
DEEPEST = 10_000  # a checkpoint may claim any depth, and each layer takes time to build
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
    """`depth` linear layers fc1, fc2, …, each but the last followed by [norm and] ReLU.

    Inputs of any shape (N, …) with `inputs` numbers each are flattened; the output is
    (N, classes). `norm` is none, bn, ln, rms or gn, see `condcli.models.norms`. `init` sets the
    weights:

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
        if norm != "none":
            layers[f"{norm}{k}"] = _norm(width, norm)
        layers[f"relu{k}"] = nn.ReLU()
    layers[f"fc{depth}"] = _linear(sizes[-1], classes, init)
    return nn.Sequential(layers)


def mlp_sizes(shapes: Shapes) -> dict[str, object] | None:
    """The arguments that a state_dict's names and shapes tell, or None for another network."""
    matches = (re.fullmatch(r"fc(\d+)\.weight", name) for name in shapes)
    depth = max((int(match[1]) for match in matches if match), default=0)
    if depth == 0:
        return None
    norm = next((norm for norm in NORMS if f"{norm}1.weight" in shapes), "none")
    sizes: dict[str, object] = {"depth": depth, "norm": norm}
    first, last = shapes.get("fc1.weight", ()), shapes[f"fc{depth}.weight"]
    if len(first) == 2:
        sizes |= {"inputs": first[1]} | ({"width": first[0]} if depth > 1 else {})
    return sizes | ({"classes": last[0]} if len(last) == 2 else {})


def _check(*, depth: int, norm: str, init: str) -> None:
    if not 1 <= depth <= DEEPEST:
        raise InputError(f"an mlp cannot have depth {depth}", f"give a depth from 1 to {DEEPEST:,}")
    if norm not in NORMS:
        raise InputError(f"an mlp has no norm '{norm}'", f"choose from {', '.join(NORMS)}")
    if init not in INITS:
        raise InputError(f"an mlp has no init '{init}'", f"choose from {', '.join(INITS)}")


def _norm(width: int, norm: str) -> nn.Module:
    return nn.BatchNorm1d(width) if norm == "bn" else BY_EXAMPLE[norm](width)


def _linear(d_in: int, d_out: int, init: str) -> nn.Linear:
    layer = nn.Linear(d_in, d_out)
    if init == "he":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    elif init == "orthogonal":
        nn.init.orthogonal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer

"""Guesses for layers whose weight is computed from other tensors: weight_norm, spectral_norm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from condcli.models.guesses.layer import Flow, Layer, wrapped
from condcli.models.guesses.plain import convolution, linear

if TYPE_CHECKING:
    from condcli.models.shapes import Shapes

# By torch's hooks and by its parametrizations; the names are under the layer's own.
WEIGHT_NORMS = {
    "nn.utils.weight_norm": ("weight_g", "weight_v"),
    "nn.utils.parametrizations.weight_norm": (
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ),
}
SPECTRAL_NORMS = {
    "nn.utils.spectral_norm": ("weight_orig", "weight_u", "weight_v"),
    "nn.utils.parametrizations.spectral_norm": (
        "parametrizations.weight.original",
        "parametrizations.weight.0._u",
        "parametrizations.weight.0._v",
    ),
}


def rewritten(shapes: Shapes, flow: Flow) -> Layer | None:
    """A convolution or linear layer under weight_norm or spectral_norm."""
    for function, (size, direction) in WEIGHT_NORMS.items():
        if shapes.keys() - {"bias"} == {size, direction}:
            return _weight_norm(function, shapes, size, direction, flow)
    for function, (original, left, right) in SPECTRAL_NORMS.items():
        if shapes.keys() - {"bias"} == {original, left, right}:
            return _spectral_norm(function, shapes, original, left, right, flow)
    return None


def _weight_norm(
    function: str, shapes: Shapes, size: str, direction: str, flow: Flow
) -> Layer | None:
    layer = _plain(shapes, direction, flow)
    dim = _kept(shapes[size], shapes[direction])
    if layer is None or dim is None:
        return None
    return wrapped(layer, function, "weight norm", **({} if dim == "0" else {"dim": dim}))


def _spectral_norm(
    function: str, shapes: Shapes, original: str, left: str, right: str, flow: Flow
) -> Layer | None:
    layer = _plain(shapes, original, flow)
    rows, count = shapes[left], math.prod(shapes[original])
    if layer is None or len(rows) != 1 or shapes[right] != (count // max(rows[0], 1),):
        return None
    dim = 1 if rows == shapes[original][1:2] != shapes[original][:1] else 0
    if rows != shapes[original][dim : dim + 1]:
        return None
    usual = 1 if "Transpose" in layer.call.function else 0
    return wrapped(layer, function, "spectral norm", **({} if dim == usual else {"dim": str(dim)}))


def _plain(shapes: Shapes, weight: str, flow: Flow) -> Layer | None:
    plain = {"weight": shapes[weight]} | {
        name: shape for name, shape in shapes.items() if name == "bias"
    }
    return linear(plain, flow) or convolution(plain, flow)


def _kept(size: tuple[int, ...], direction: tuple[int, ...]) -> str | None:
    """The dimension along which the norms are kept, as Python writes it; "None" for one norm."""
    if size == ():
        return "None"
    for dim, length in enumerate(direction):
        if size == tuple(length if k == dim else 1 for k in range(len(direction))):
            return str(dim)
    return None

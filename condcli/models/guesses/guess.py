"""What each module of a tree probably is: a guess by the names and shapes of its tensors.

A guess stands for all tensors of its module, no more and no less; where none does, a module is
just what it holds. What a layer's neighbours do (`Flow`) tells what its own tensors leave open.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from condcli.models.guesses.compound import attention, recurrent
from condcli.models.guesses.layer import Flow, Layer
from condcli.models.guesses.plain import (
    batch_norm,
    convolution,
    embedding,
    layer_norm,
    linear,
    transposed_linear,
    vector_norm,
)
from condcli.models.guesses.rewritten import rewritten
from condcli.models.guesses.tree import Node

if TYPE_CHECKING:
    from condcli.models.shapes import Shapes

Path = tuple[str, ...]

LAYER_HEIGHT = 3  # parametrizations.weight.0 has as many modules below the layer

# The first that knows all the tensors of a module is taken.
RULES: tuple[Callable[[Shapes, Flow], Layer | None], ...] = (
    recurrent,
    attention,
    rewritten,
    batch_norm,
    layer_norm,
    transposed_linear,
    embedding,
    linear,
    convolution,
)


def guess_layers(root: Node) -> dict[Path, Layer]:
    """The guess for each module that has one, by its path; all below it is part of it."""
    found: dict[Path, Layer] = {}
    _visit(root, Flow(transposed=_transposed_names(root)), found)
    return _norms_settled(found)


def _visit(node: Node, flow: Flow, found: dict[Path, Layer]) -> None:
    flow.name = node.name
    layer = _layer(node, flow) if _is_low(node, LAYER_HEIGHT) else None
    if layer is None:
        for child in node.children.values():
            _visit(child, flow, found)
        return
    found[node.path] = layer
    if layer.kind not in ("norm", "activation"):
        flow.d_out, flow.dims = layer.d_out, layer.dims


def _layer(node: Node, flow: Flow) -> Layer | None:
    shapes = {name: spec.shape for name, spec in node.specs()}
    return next((layer for rule in RULES if (layer := rule(shapes, flow))), None)


def _is_low(node: Node, height: int) -> bool:
    """Whether there are at most so many modules one in the other below it."""
    return not node.children or (
        height > 0 and all(_is_low(child, height - 1) for child in node.children.values())
    )


def _norms_settled(found: dict[Path, Layer]) -> dict[Path, Layer]:
    """A norm between a convolution and a linear layer or attention is that of the latter."""
    settled = dict(found)
    for path, (layer, after) in zip(found, pairwise(found.values()), strict=False):
        if layer.call.function == "nn.GroupNorm" and after.kind in ("linear", "attention"):
            settled[path] = vector_norm(layer.d_out or 1)
    return settled


def _transposed_names(root: Node) -> frozenset[str]:
    """GPT-2's way is used for a square weight too, whose shape does not tell."""
    return frozenset(node.path[-1] for node in root.walk() if node.path and _is_transposed(node))


def _is_transposed(node: Node) -> bool:
    weight, bias = node.tensors.get("weight"), node.tensors.get("bias")
    if weight is None or bias is None or len(weight.shape) != 2:
        return False
    return bias.shape == weight.shape[1:] != weight.shape[:1]

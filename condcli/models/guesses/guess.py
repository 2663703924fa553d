"""What each module of a tree probably is: a guess by the names and shapes of its tensors.

A guess stands for all tensors of its module, no more and no less; where none does, a module is
just what it holds. What a layer's neighbours do (`Flow`) tells what its own tensors leave open.
"""

from __future__ import annotations

from collections.abc import Callable
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
)
from condcli.models.guesses.rewritten import rewritten
from condcli.models.guesses.tree import Node

if TYPE_CHECKING:
    from condcli.models.shapes import Shapes

Path = tuple[str, ...]

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
    return found


def _visit(node: Node, flow: Flow, found: dict[Path, Layer]) -> None:
    flow.name = node.name
    shapes = {name: spec.shape for name, spec in node.specs()}
    layer = next((layer for rule in RULES if (layer := rule(shapes, flow))), None)
    if layer is None:
        for child in node.children.values():
            _visit(child, flow, found)
        return
    found[node.path] = layer
    if layer.kind not in ("norm", "activation"):
        flow.d_out, flow.dims = layer.d_out, layer.dims


def _transposed_names(root: Node) -> frozenset[str]:
    """GPT-2's way is used for a square weight too, whose shape does not tell."""
    return frozenset(node.path[-1] for node in root.walk() if node.path and _is_transposed(node))


def _is_transposed(node: Node) -> bool:
    weight, bias = node.tensors.get("weight"), node.tensors.get("bias")
    if weight is None or bias is None or len(weight.shape) != 2:
        return False
    return bias.shape == weight.shape[1:] != weight.shape[:1]

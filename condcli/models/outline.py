"""A tree of modules as rows to print: what each probably is, repeated ones once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from condcli.models.guesses import Layer, Node, Spec
from condcli.models.guesses.guess import Path

BUFFERS = ("running_mean", "running_var")  # of BN: floating, but not parameters
STEP = "· "

# Names under which an attention's projections are saved, in one or apart.
ATTENTION = (
    {"q_proj", "k_proj", "v_proj"},
    {"query", "key", "value"},
    {"to_q", "to_k", "to_v"},
    {"q", "k", "v"},
    {"qkv"},
    {"c_attn"},
    {"query_key_value"},
)
FREE = {"pos": "positional embedding", "cls": "class token", "class_token": "class token"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleRow:
    """A module, several alike that follow each other, or a tensor that belongs to no layer."""

    module: str = field(metadata={"shown_in": ("table",)})  # its own name, indented
    name: str = field(metadata={"shown_in": ("machine",)})  # in full; of several, the first
    last: str | None = field(metadata={"shown_in": ("machine",)})  # of several, the last
    repeats: int = field(metadata={"shown_in": ("machine",)})  # rows below are of one of them
    depth: int = field(metadata={"shown_in": ("machine",)})
    kind: str | None = field(metadata={"shown_in": ("machine",)})
    guess: str
    shape: str = field(metadata={"drop": 1})  # of the first tensor; empty for modules of modules
    parameters: int  # of all repeats together


def outline(root: Node, layers: Mapping[Path, Layer]) -> tuple[ModuleRow, ...]:
    """The rows of the whole tree, each module before what is in it."""
    if root.path in layers:
        return (_row([root], layers, depth=0),)
    return tuple(_rows(root, layers, depth=0))


def parameters(node: Node) -> int:
    """How many numbers of it are trained."""
    return sum(trained(name, spec) for name, spec in node.specs())


def trained(name: str, spec: Spec) -> int:
    """How many numbers of a tensor are trained: none of a buffer's."""
    is_buffer = not spec.is_floating or name.rpartition(".")[2] in BUFFERS
    return 0 if is_buffer else math.prod(spec.shape)


def _rows(node: Node, layers: Mapping[Path, Layer], *, depth: int) -> Iterator[ModuleRow]:
    for name, spec in node.tensors.items():
        yield _tensor_row(node, name, spec, depth=depth)
    for alike in _folded(list(node.children.values())):
        yield _row(alike, layers, depth=depth)
        if alike[0].path not in layers:
            yield from _rows(alike[0], layers, depth=depth + 1)


def _row(alike: Sequence[Node], layers: Mapping[Path, Layer], *, depth: int) -> ModuleRow:
    first, last, count = alike[0], alike[-1], len(alike)
    layer = layers.get(first.path)
    guess = layer.what if layer else _whole(first, layers)
    own = parameters(first)
    if count > 1:
        guess = f"{count} × {guess or f'{own:,}'}"
    own_name = first.path[-1] if first.path else "(whole)"
    shapes = [spec.shape for _, spec in first.specs()] if layer else []
    return ModuleRow(
        module=STEP * depth + own_name + (f" … {_number(last.path[-1])}" if count > 1 else ""),
        name=first.name,
        last=last.name if count > 1 else None,
        repeats=count,
        depth=depth,
        kind=layer.kind if layer else None,
        guess=guess,
        shape="×".join(map(str, shapes[0])) if shapes else "",
        parameters=own * count,
    )


def _tensor_row(node: Node, name: str, spec: Spec, *, depth: int) -> ModuleRow:
    number = trained(name, spec)
    meant = next((word for key, word in FREE.items() if key in name.lower()), "parameter")
    return ModuleRow(
        module=STEP * depth + name,
        name=".".join((*node.path, name)),
        last=None,
        repeats=1,
        depth=depth,
        kind="parameter" if number else "buffer",
        guess=meant if number else f"buffer, {spec.dtype}",
        shape="×".join(map(str, spec.shape)),
        parameters=number,
    )


def _folded(nodes: list[Node]) -> Iterator[list[Node]]:
    """Runs of modules whose names differ in a number and whose tensors are alike."""
    run: list[Node] = []
    for node in nodes:
        if run and not _alike(run[-1], node):
            yield run
            run = []
        run.append(node)
    if run:
        yield run


def _alike(one: Node, other: Node) -> bool:
    names = [re.sub(r"\d+", "#", node.path[-1]) for node in (one, other)]
    return (
        names[0] == names[1]
        and "#" in names[0]
        and [(name, spec.shape) for name, spec in one.specs()]
        == [(name, spec.shape) for name, spec in other.specs()]
    )


def _number(name: str) -> str:
    """The end of a name from its last number on."""
    return re.sub(r".*?(\d+\D*)$", r"\1", name, flags=re.DOTALL)


def _whole(node: Node, layers: Mapping[Path, Layer]) -> str:
    """What a module of several layers is as a whole, as far as its names tell."""
    names = node.children.keys() | node.tensors.keys()
    if {"lora_A", "lora_B"} <= names:
        return _adapted(node, layers)
    if any(projections <= names for projections in ATTENTION):
        inputs = [layers[child.path].d_in for child in node.walk() if child.path in layers]
        return f"attention {inputs[0]}" if inputs and inputs[0] else "attention"
    return ""


def _adapted(node: Node, layers: Mapping[Path, Layer]) -> str:
    """A layer with a LoRA beside it; its rank is the smaller side of A."""
    shapes = [spec.shape for name, spec in node.specs() if name.startswith("lora_A")]
    rank = min(shapes[0]) if shapes and shapes[0] else "?"
    inner = node.children.get("base_layer")
    base = layers.get(inner.path) if inner else None
    return f"{base.what if base else 'layer'} with LoRA of rank {rank}"

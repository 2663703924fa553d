"""The Python objects that hold a tree's tensors: what a scaffold will build.

A module is the layer that it was guessed to be, a numbered sequence, or a class of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, TypeAlias

from condcli.models.guesses.guess import Path
from condcli.models.guesses.layer import Call, Layer, call
from condcli.models.guesses.tree import Node, Spec, is_number

WIDEST_GAP = 4  # numbers left out between two items: activations and the like have no tensors
BUFFERS = re.compile(r"running_|inv_freq|mask|window")


@dataclass(frozen=True, slots=True)
class Filler:
    """A guess at a module without tensors, of which only its number is known."""

    call: Call


@dataclass(frozen=True, slots=True)
class Sequence:
    """Modules named 0, 1, 2, …; a chain when what comes out of each can go into the next."""

    items: tuple[Part | Filler, ...]
    is_chain: bool


@dataclass(frozen=True, slots=True)
class Tensor:
    """A parameter or buffer of a module that is no known layer."""

    role: Literal["parameter", "buffer"]
    call: Call


@dataclass(frozen=True, slots=True)
class Block:
    """A class of its own, with its attributes by name."""

    members: tuple[tuple[str, Part], ...]
    path: Path = field(compare=False)  # where it occurs


Part: TypeAlias = "Layer | Sequence | Block | Tensor"


def plan(node: Node, layers: Mapping[Path, Layer]) -> Part:
    """How to build the module; `layers` are the guesses for those below it."""
    if node.path in layers:
        return layers[node.path]
    parts = {name: plan(child, layers) for name, child in node.children.items()}
    if not node.tensors and _is_sequence(node):
        return _sequence({int(name): part for name, part in parts.items()})
    tensors = [(name, _tensor(name, spec)) for name, spec in node.tensors.items()]
    return Block((*tensors, *parts.items()), node.path)


def layers_in(part: Part | Filler) -> Iterator[Layer]:
    """All layers in it, in the order of the names."""
    if isinstance(part, Layer):
        yield part
    elif isinstance(part, Sequence):
        for item in part.items:
            yield from layers_in(item)
    elif isinstance(part, Block):
        for _, member in part.members:
            yield from layers_in(member)


def first_layer(part: Part) -> Layer | None:
    """The layer that sees the part's input, if it is a chain."""
    return next(layers_in(part), None)


def last_layer(part: Part) -> Layer | None:
    """The layer that gives the part's output, if it is a chain."""
    return next(reversed(list(layers_in(part))), None)


def _is_sequence(node: Node) -> bool:
    if not node.children or not all(map(is_number, node.children)):
        return False
    numbers = [-1, *map(int, node.children)]
    gaps = (b - a - 1 for a, b in pairwise(numbers))
    return max(gaps) <= WIDEST_GAP


def _tensor(name: str, spec: Spec) -> Tensor:
    sizes: list[tuple[str, int | Call]] = [("size", size) for size in spec.shape]
    sizes = sizes or [("size", Call(""))]
    if spec.is_floating and not BUFFERS.search(name):
        return Tensor("parameter", call("nn.Parameter", ("data", call("torch.zeros", *sizes))))
    dtype = {} if spec.dtype == "float32" else {"dtype": f"torch.{spec.dtype}"}
    return Tensor("buffer", call("torch.zeros", *sizes, **dtype))


def _sequence(parts: Mapping[int, Part]) -> Sequence:
    items: list[Part | Filler] = []
    before: Part | None = None
    is_chain = True
    for number, part in parts.items():
        gap = number - len(items)
        is_chain = is_chain and (before is None or _connect(before, part, gap))
        items += [Filler(each) for each in _between(before, part, gap)]
        items.append(part)
        before = part
    return Sequence(tuple(items), is_chain)


def _connect(before: Part, after: Part, gap: int) -> bool:
    last, first = last_layer(before), first_layer(after)
    if last is None or first is None or not last.d_out or not first.d_in:
        return False
    if last.dims and first.kind == "linear":
        return gap > 0 and first.d_in % last.d_out == 0
    return last.d_out == first.d_in


def _between(before: Part | None, after: Part, gap: int) -> list[Call]:
    """Guesses at so many modules without tensors: an activation, pooling, flattening."""
    last = None if before is None else last_layer(before)
    first = first_layer(after)
    calls: list[Call] = []
    if isinstance(before, Layer):
        calls = [call("nn.ReLU"), pooling(before, first)]
    flattens = first is not None and first.kind == "linear" and (last is None or last.dims > 0)
    if flattens and gap:
        calls = [*_of_length(calls, gap - 1), call("nn.Flatten")]
    return _of_length(calls, gap)


def pooling(before: Layer, after: Layer | None) -> Call:
    """What probably makes the maps of `before` smaller; dropout where there are none."""
    if not before.dims:
        return call("nn.Dropout")
    if after is not None and after.kind == "linear" and after.d_in == before.d_out:
        return call(f"nn.AdaptiveAvgPool{before.dims}d", ("output_size", "1"))
    return call(f"nn.MaxPool{before.dims}d", ("kernel_size", "2"))


def _of_length(calls: list[Call], length: int) -> list[Call]:
    return [*calls[:length], *[call("nn.Identity")] * (length - len(calls))]

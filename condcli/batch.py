"""What a network takes and is compared with: one tensor, several in order, or several by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from torch import Tensor

# A network is called with a tensor, with a tuple as arguments, or with a dict as keyword
# arguments. The first axis of every tensor is the examples'.
Tensors = Union["Tensor", tuple["Tensor", ...], Mapping[str, "Tensor"]]
Batch = tuple[Tensors, Tensors]  # inputs and targets


def leaves(tensors: Tensors) -> Iterator[Tensor]:
    """The tensors one by one, in order."""
    if isinstance(tensors, Mapping):
        yield from tensors.values()
    elif isinstance(tensors, tuple):
        yield from tensors
    else:
        yield tensors


def mapped(function: Callable[[Tensor], Tensor], tensors: Tensors) -> Tensors:
    """The same structure, with what ``function`` makes of each tensor."""
    if isinstance(tensors, Mapping):
        return {name: function(tensor) for name, tensor in tensors.items()}
    if isinstance(tensors, tuple):
        return tuple(function(tensor) for tensor in tensors)
    return function(tensors)


def examples_in(tensors: Tensors) -> int:
    """The number of examples: the length of the first axis."""
    return len(next(leaves(tensors)))


def shape_text(tensors: Tensors) -> str:
    """The shapes, without the examples' axis: `3×32×32`, or `input_ids 128, attention_mask 128`."""
    if isinstance(tensors, Mapping):
        return ", ".join(f"{name} {_sizes(tensor)}" for name, tensor in tensors.items())
    return ", ".join(map(_sizes, leaves(tensors)))


def _sizes(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape[1:])) or "number"

"""What a module probably is, as a person says it and as Python builds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal[
    "conv", "linear", "norm", "embedding", "attention", "recurrent", "activation", "parameter"
]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call: a whole number (a size), Python text, or a call."""

    name: str
    value: int | str | Call
    by_name: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """The Python that builds something; called without a function, it is a tuple."""

    function: str
    arguments: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A guess: the layer whose tensors have exactly these names and shapes."""

    kind: Kind
    what: str  # conv 3×3 64→128
    call: Call
    d_in: int | None = None  # channels or features, where one number tells
    d_out: int | None = None
    dims: int = 0  # a convolution's spatial dimensions
    kernel: tuple[int, ...] = ()
    guess: str = ""  # at what the tensors do not tell


@dataclass(slots=True)
class Flow:
    """What the layers before a module tell of it, in the order of their names."""

    d_out: int | None = None  # of the last layer
    dims: int = 0  # of the last convolution
    name: str = ""  # of the module itself, in full
    transposed: frozenset[str] = frozenset()  # the own names of linear layers with W transposed

    @property
    def own_name(self) -> str:
        """The last part of the module's name."""
        return self.name.rpartition(".")[2]


def call(function: str, *sizes: tuple[str, int | str | Call], **named: int | str | Call) -> Call:
    """A call with positional arguments, as pairs of name and value, then those by name."""
    positional = [Argument(name, value) for name, value in sizes]
    return Call(function, (*positional, *(Argument(n, v, by_name=True) for n, v in named.items())))


def tuple_of(name: str, sizes: Sequence[int]) -> int | Call:
    """Sizes as torch takes them: one number where all are the same, else a tuple."""
    if len(set(sizes)) == 1:
        return sizes[0]
    return Call("", tuple(Argument(name, size) for size in sizes))


def wrapped(layer: Layer, function: str, note: str, **named: int | str | Call) -> Layer:
    """The layer inside a function that rewrites its weight, such as weight_norm."""
    outer = call(function, ("layer", layer.call), **named)
    return replace(layer, what=f"{layer.what}, {note}", call=outer)

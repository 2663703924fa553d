"""Values of a capture as words that JSON has, beside the tensors among them.

A word is a plain value, or a list that begins with its kind. What is the network's own (parameters,
the blocks of its weights, the options) is named by its number and not held. A type that is not
known here raises TypeError: nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from typing import Any, cast

import torch
from torch import Tensor

from condcli.capture.activations import ActivationCount
from condcli.capture.convolution import Convolution
from condcli.capture.displaced_moment import DisplacedMoment
from condcli.capture.displacement import Autocorrelations
from condcli.capture.layer import LayerCapture
from condcli.capture.linear_maps import Dense, Lookup
from condcli.capture.mode import Capture
from condcli.capture.moments import Frequencies, Moment
from condcli.capture.options import Options
from condcli.capture.patch_moment import PatchMoment
from condcli.capture.per_example import (
    ExampleGradients,
    GradientFactors,
    Gradients,
    LookupGradients,
)
from condcli.capture.state_file import DTYPES
from condcli.capture.totals import Totals
from condcli.capture.weights import Block, Key, Piece, Use
from condcli.capture.wide_moment import WideMoment

Word = Any
PLAIN = (bool, int, float, str, type(None))
CLASSES: dict[str, type] = {
    each.__name__: each
    for each in (
        LayerCapture,
        Moment,
        PatchMoment,
        DisplacedMoment,
        Autocorrelations,
        Frequencies,
        WideMoment,
        ExampleGradients,
        GradientFactors,
        LookupGradients,
        Gradients,
        ActivationCount,
        Totals,
        Use,
        Dense,
        Convolution,
        Lookup,
    )
}
CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


class Unsavable(Exception):  # a state of things
    """Something of the run cannot be put into a file and taken out again; says what."""


class Names:
    """Numbers for what is the network's: its parameters and the blocks of its weights."""

    def __init__(self, capture: Capture) -> None:
        self.options = capture.options
        self.device = capture.options.device
        self._parameters = list(capture.weights.parameters)
        self._numbers = {key: number for number, key in enumerate(self._parameters)}
        self.blocks = [*capture.weights.blocks(), *capture.computed.blocks()]
        self._places = {block.key: number for number, block in enumerate(self.blocks)}

    def parameter(self, key: int) -> int:
        """The number of the parameter with this id."""
        return self._numbers[key]

    def id_of(self, number: int) -> int:
        """The id of the parameter with this number."""
        return self._parameters[number]

    def block(self, key: Key) -> int:
        """The number of the block with this key."""
        return self._places[key]


class Packer:
    """Makes words of values; ``tensors`` are those among them, as they lie in memory."""

    def __init__(self, names: Names) -> None:
        self.tensors: list[Tensor] = []
        self._names = names

    def word(self, value: Any) -> Word:
        """The word for a value; TypeError for one of an unknown type."""
        kind = type(value)
        if kind in PLAIN:
            return value
        if isinstance(value, Tensor):
            return self._tensor(value)
        if kind in (list, tuple, torch.Size):
            return ["list" if kind is list else "tuple", [self.word(item) for item in value]]
        if kind in (set, frozenset):
            return [kind.__name__, sorted(self.word(item) for item in value)]
        if kind is dict:
            return ["dict", [[self.word(key), self.word(item)] for key, item in value.items()]]
        return self._named(value)

    def _named(self, value: Any) -> Word:
        """The word for what has a form, or a number, of its own."""
        kind = type(value)
        if kind is slice:
            return ["slice", [value.start, value.stop, value.step]]
        if kind is torch.dtype:
            return ["dtype", str(value).removeprefix("torch.")]
        if kind is Block:
            return ["block", self._names.block(value.key)]
        if kind is Piece:
            return ["piece", [self._names.parameter(value.parameter), value.start, value.stop]]
        if value is self._names.options:
            return ["options"]
        if CLASSES.get(kind.__name__) is kind:
            fields = {name: self.word(field) for name, field in vars(value).items()}
            return ["object", kind.__name__, fields]
        raise TypeError(f"a state cannot hold {kind.__module__}.{kind.__qualname__}")

    def _tensor(self, tensor: Tensor) -> Word:
        """A tensor's number and axes, by descending stride: sums can depend on their order."""
        if type(tensor) is not Tensor or tensor.layout is not torch.strided:
            raise Unsavable(f"a tensor of a kind of its own ({type(tensor).__name__})")
        axes = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
        laid = tensor.detach().permute(axes)
        if tensor.dtype not in DTYPES or not laid.is_contiguous():
            raise Unsavable(f"a tensor of {tensor.dtype} that lies in memory with gaps")
        self.tensors.append(laid)
        return ["tensor", len(self.tensors) - 1, axes, tensor.device.type == "cpu"]


class Unpacker:
    """Makes values of words again."""

    def __init__(self, tensors: Sequence[Tensor], names: Names) -> None:
        self._tensors = tensors
        self._names = names

    def value(self, word: Word) -> Any:
        """The value for a word; KeyError, TypeError, ValueError or IndexError for none of ours."""
        if type(word) in PLAIN:
            return word
        kind, *rest = word
        if kind == "tensor":
            number, axes, on_cpu = rest
            laid = self._tensors[number] if on_cpu else self._tensors[number].to(self._names.device)
            # Detached it is a view of nothing: what a buffer is computed from is told by that.
            return laid.permute([axes.index(axis) for axis in range(len(axes))]).detach()
        if kind in CONTAINERS:
            return CONTAINERS[kind](self.value(item) for item in rest[0])
        if kind == "object":
            return self._object(CLASSES[rest[0]], rest[1])
        return getattr(self, f"_{kind}")(*rest)

    def _dict(self, items: Word) -> dict[Any, Any]:
        return {self.value(key): self.value(item) for key, item in items}

    def _slice(self, ends: Word) -> slice:
        return slice(*ends)

    def _dtype(self, name: Word) -> torch.dtype:
        return cast("torch.dtype", getattr(torch, name))

    def _block(self, number: Word) -> Block:
        return self._names.blocks[number]

    def _piece(self, run: Word) -> Piece:
        return Piece(self._names.id_of(run[0]), *run[1:])

    def _options(self) -> Options:
        return self._names.options

    def _object(self, kind: type, fields: Word) -> Any:
        values = {name: self.value(word) for name, word in fields.items()}
        if is_dataclass(kind):
            return kind(**values)
        made: Any = object.__new__(kind)
        vars(made).update(values)
        return made

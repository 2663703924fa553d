"""What a network takes and is compared with, and how batches are shared out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, Union

from condcli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

# A network is called with a tensor, with a tuple as arguments, or with a dict as keyword
# arguments. The first axis of every tensor is the examples'.
Tensors = Union["Tensor", tuple["Tensor", ...], Mapping[str, "Tensor"]]
Batch = tuple[Tensors, Tensors]  # inputs and targets
PlacedBatch = tuple[int, Batch]  # the place of its first example in the probe set, from 0
Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """Every ``of``-th batch from batch ``number`` on, of the batches that one process would form.

    A batch is never cut, so batch statistics are the same however the work is shared out.
    """

    number: int = 0  # from 0
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number + 1}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Share:
        """Share 0 of 3 from ``1/3``, and so on; UsageError for any other text."""
        number, _, of = text.partition("/")
        if not (_is_count(number) and _is_count(of) and 1 <= int(number) <= int(of)):
            raise UsageError(f"shard {text!r} does not exist", "give I/N, 1/3 to 3/3 for instance")
        return cls(int(number) - 1, int(of))

    def pick(self, batches: Sequence[Item]) -> Sequence[Item]:
        """The share's own of all batches."""
        return batches[self.number :: self.of]

    def part(self, number: int, of: int) -> Share:
        """The share of this share that has this number of so many."""
        return Share(self.number + number * self.of, self.of * of)


WHOLE = Share()


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()


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

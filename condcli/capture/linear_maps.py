"""Every function that condcli sees as a linear map h = W x, by the name torch calls it.

A layer kind is one entry of ``LINEAR_MAPS``: a small function that turns the call's arguments into
a ``Call``. Its law is ``rows(x) @ weight_matrix(W)ᵀ == rows(h)`` (bias aside), which a parametrised
test holds for every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor, nn

from condcli.capture.convolution import Convolution
from condcli.capture.padding import blank


class LinearMap(Protocol):
    """How a call's tensors become rows; (G, rows, features) everywhere, G groups."""

    @property
    def groups(self) -> int:
        """G."""

    @property
    def kernel(self) -> tuple[int, ...]:
        """() for a dense map."""

    @property
    def unit_axis(self) -> int:
        """Which axis of the input and of the output holds the features."""

    def is_batch_of(self, x: Tensor, examples: int) -> bool:
        """Whether the input's first axis is that of the examples."""

    def weight_matrix(self, weight: Tensor) -> Tensor:
        """The weight as (G, d_out/G, d_in/G)."""

    def output_rows(self, h: Tensor) -> Tensor:
        """The output, or its gradient, as (G, rows, d_out/G)."""


class RowMap(LinearMap, Protocol):
    """A linear map whose input rows can be written out; those of one-hot rows cannot."""

    def input_rows(self, x: Tensor, view: str, real: Tensor | None = None) -> Iterator[Tensor]:
        """Blocks of input rows, each (G, rows, d_in/G); those that are not ``real`` are zero."""


@dataclass(frozen=True)
class Dense:
    """A fully connected map of the last axis; every leading index is a row."""

    groups: int = 1
    kernel: tuple[int, ...] = ()
    unit_axis: int = -1

    def is_batch_of(self, x: Tensor, examples: int) -> bool:
        """Taken on trust where the sizes agree: tokens are assumed to come after examples."""
        return x.shape[0] == examples

    def weight_matrix(self, weight: Tensor) -> Tensor:
        """(1, d_out, d_in)."""
        return weight.unsqueeze(0)

    def input_rows(self, x: Tensor, view: str, real: Tensor | None = None) -> Iterator[Tensor]:
        """One block, (1, rows, d_in)."""
        yield self.output_rows(blank(x, real, -1))

    def output_rows(self, h: Tensor) -> Tensor:
        """(1, rows, d_out)."""
        return h.reshape(1, -1, h.shape[-1])


@dataclass(frozen=True)
class Lookup:
    """An embedding, the map of one-hot rows: every token is a row, and Σ_x is diagonal.

    Tokens equal to ``ignored`` (torch's ``padding_idx``) are no rows: torch gives them no gradient.
    """

    ignored: int = -1
    groups: int = 1
    kernel: tuple[int, ...] = ()
    unit_axis: int = -1

    def is_batch_of(self, x: Tensor, examples: int) -> bool:
        """As for a dense map."""
        return x.dim() > 0 and x.shape[0] == examples

    def weight_matrix(self, weight: Tensor) -> Tensor:
        """(1, dimension, vocabulary), from torch's own (vocabulary, dimension)."""
        return weight.t().unsqueeze(0)

    def output_rows(self, h: Tensor) -> Tensor:
        """(1, tokens, dimension)."""
        return h.reshape(1, -1, h.shape[-1])


@dataclass(frozen=True)
class Call:
    """One linear map at work: its input, its weight as the call gave it, and its geometry."""

    kind: str
    x: Tensor  # tokens for an embedding
    weight: Tensor  # (d_out, d_in) for a dense map, else torch's own layout
    bias: Tensor | None
    map: Dense | Convolution | Lookup
    transposed: bool = False  # the weight was given as (d_in, d_out)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Call:
    """``F.linear``."""
    return Call("linear", input, weight, bias, Dense())


def matmul(input: Tensor, other: Tensor) -> Call | None:
    """``x @ W``, in all its spellings, with W of shape (d_in, d_out)."""
    return (
        None if other.dim() != 2 else Call("linear", input, other, None, Dense(), transposed=True)
    )


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Call | None:
    """``b + x @ W``: Hugging Face's Conv1D. With another ``alpha`` it is no plain h = W x + b."""
    bias = input if beta and input.dim() == 1 else None
    return None if alpha != 1 else Call("linear", mat1, mat2, bias, Dense(), transposed=True)


def embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Call:
    """``torch.embedding``, under ``F.embedding`` and ``nn.Embedding``."""
    return Call("embedding", indices, weight, None, Lookup(padding_idx))


def _convolution(axes: int) -> Callable[..., Call]:
    def call(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Call:
        kernel, spread = tuple(weight.shape[2:]), _per_axis(dilation, axes)
        geometry = Convolution(
            kernel, _per_axis(stride, axes), _padding(padding, kernel, spread), spread, groups
        )
        return Call(f"conv{axes}d", input, weight, bias, geometry)

    return call


def _transposed_convolution(axes: int) -> Callable[..., Call]:
    def call(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Call:
        kernel, spread = tuple(weight.shape[2:]), _per_axis(dilation, axes)
        reach = [(k - 1) * d for k, d in zip(kernel, spread, strict=True)]
        lost, extra = _per_axis(padding, axes), _per_axis(output_padding, axes)
        around = tuple((r - p, r - p + e) for r, p, e in zip(reach, lost, extra, strict=True))
        geometry = Convolution(
            kernel, _per_axis(stride, axes), around, spread, groups, transposed=True
        )
        return Call(f"conv_transpose{axes}d", input, weight, bias, geometry)

    return call


# Of these, neither operand is the weight by the function's own word.
PRODUCTS = frozenset({"matmul", "mm", "__matmul__", "addmm"})

LINEAR_MAPS: dict[str, Callable[..., Call | None]] = {
    "linear": linear,
    "matmul": matmul,
    "mm": matmul,
    "__matmul__": matmul,
    "addmm": addmm,
    "embedding": embedding,
    **{f"conv{axes}d": _convolution(axes) for axes in (1, 2, 3)},
    **{f"conv_transpose{axes}d": _transposed_convolution(axes) for axes in (1, 2, 3)},
}


def without_own_padding(call: Call, module: nn.Module | None) -> Call:
    """The call, told how far its module had padded the input itself (``padding_mode``).

    ``nn.Conv2d(padding_mode="reflect")`` pads first and then convolves without padding; the
    ``channels`` view wants the feature map, not its border.
    """
    if not isinstance(call.map, Convolution) or getattr(module, "padding_mode", "zeros") == "zeros":
        return call
    flat: Sequence[int] = module._reversed_padding_repeated_twice  # type: ignore[union-attr, assignment]
    pairs = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
    return replace(call, map=replace(call.map, cropping=tuple(reversed(pairs))))


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * axes
    return tuple(value) * (axes if len(value) == 1 else 1)


def _padding(
    padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        padding = 0
    if padding == "same":  # torch puts the odd one after
        reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        return tuple((r // 2, r - r // 2) for r in reach)
    return tuple((p, p) for p in _per_axis(padding, len(kernel)))

"""Every use of a network's weights, seen by standing in for PyTorch's own functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
LOOKUP = " (lookup)"  # after the name of a weight whose rows are looked up
Function = Callable[..., Tensor]


@dataclass
class Sums:
    """Of one weight: the sums over rows of x xᵀ and δ δᵀ, (G, d, d); of one-hot x, (d,)."""

    rows: int = 0
    input_rows: int = 0
    inputs: Tensor | float = 0.0
    grads: Tensor | float = 0.0

    @property
    def input_moment(self) -> Tensor:
        return torch.as_tensor(self.inputs).double() / self.input_rows

    @property
    def grad_moment(self) -> Tensor:
        return torch.as_tensor(self.grads) / self.rows

    def distance(self, exact: Sums) -> float:
        """The larger of the two moments' max |A − B| / max |B|, B those of ``exact``."""
        return max(
            relative(self.input_moment, exact.input_moment),
            relative(self.grad_moment, exact.grad_moment),
        )

    def part(self, number: int, parts: int) -> Sums:
        """Those of one of several equal blocks of a matrix's rows."""
        block = torch.as_tensor(self.grads).unflatten(2, (parts, -1))[:, :, number]
        grads = block.unflatten(1, (parts, -1))[:, number]
        return Sums(self.rows, self.input_rows, self.inputs, grads)


@dataclass(frozen=True)
class Call:
    """One use of a weight."""

    name: str
    zero: Tensor  # was added to the output: its gradient is δ
    groups: int
    channels: int  # the axis of the features
    real: Tensor | None = None  # which rows count, of a call with the features last


class Recorder:
    """Adds up the inputs' rows as they come, and keeps the calls for the gradients.

    Tokens that are not ``real``, (N, T), are no rows; nor are an embedding's padding tokens.
    """

    def __init__(self, network: nn.Module, sums: dict[str, Sums], real: Tensor | None) -> None:
        self.network, self.sums, self.real = network, sums, real
        self.calls: list[Call] = []
        self.names = {id(tensor): name for name, tensor in network.named_parameters()}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Inside, the network's uses of its weights are recorded."""
        with (
            replaced(F, ["linear"], self._linear),
            replaced(F, CONVOLUTIONS, lambda original: self._convolution(original, 4)),
            replaced(F, TRANSPOSED, lambda original: self._convolution(original, 4)),
            replaced(F, ["embedding"], self._lookup),
            replaced(torch, ["matmul"], self._product),
        ):
            yield

    def _linear(self, original: Function) -> Function:
        def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            return self._seen(x, weight, original(x, weight, bias), groups=1, channels=-1)

        return run

    def _convolution(self, original: Function, place: int) -> Function:
        """``place`` is that of the groups among the arguments after the weight."""

        def run(x: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            groups = kwargs.get("groups", args[place] if len(args) > place else 1)
            h = original(x, weight, *args, **kwargs)
            return self._seen(x, weight, h, groups=groups, channels=1 - weight.dim())

        return run

    def _product(self, original: Function) -> Function:
        """A product by a weight's transpose, which is a linear map too."""

        def run(x: Tensor, other: Tensor) -> Tensor:
            h, weight = original(x, other), other._base
            if weight is None or weight.dim() != 2 or other.shape != weight.T.shape:
                return h
            return self._seen(x, weight, h, groups=1, channels=-1)

        return run

    def _lookup(self, original: Function) -> Function:
        def run(tokens: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            h, name = original(tokens, weight, *args, **kwargs), self._name_of(weight)
            if name is None:
                return h
            padding = args[0] if args else kwargs.get("padding_idx")
            looked_up = torch.ones_like(tokens) if padding is None else tokens != padding
            real = looked_up.bool() & self._real_rows(tokens.shape)
            counts = torch.bincount(tokens[real], minlength=len(weight))
            self._add(name + LOOKUP, int(real.sum()), counts)
            return self._with_zero(Call(name + LOOKUP, torch.zeros_like(h), 1, -1, real), h)

        return run

    def _seen(self, x: Tensor, weight: Tensor, h: Tensor, *, groups: int, channels: int) -> Tensor:
        name = self._name_of(weight)
        if name is None:
            return h
        real = self._real_rows(x.shape[:-1]) if channels == -1 else None
        rows = split(x.detach(), channels, groups, real)
        self._add(name, rows.shape[1], rows.mT @ rows)
        return self._with_zero(Call(name, torch.zeros_like(h), groups, channels, real), h)

    def _real_rows(self, shape: tuple[int, ...]) -> Tensor:
        """Which rows with these leading axes are real: all, where they are not the tokens'."""
        if self.real is None or self.real.shape != shape:
            return torch.ones(shape, dtype=torch.bool)
        return self.real

    def _add(self, name: str, rows: int, inputs: Tensor) -> None:
        own = self.sums.setdefault(name, Sums())
        own.input_rows += rows
        own.inputs = own.inputs + inputs

    def _with_zero(self, call: Call, h: Tensor) -> Tensor:
        self.calls.append(call)
        return h + call.zero.requires_grad_(True)

    def _name_of(self, weight: Tensor) -> str | None:
        """The parameter's first name, or that of a weight made anew, as weight_norm does."""
        if id(weight) in self.names:
            return self.names[id(weight)]
        for path, module in self.network.named_modules():
            if getattr(module, "weight", None) is weight:
                return f"{path}.weight"
        return None


@contextmanager
def replaced(place: Any, names: Iterable[str], change: Callable[[Function], Any]) -> Iterator[None]:
    """Inside, what ``change`` makes of each of the place's functions stands for it."""
    originals: Mapping[str, Function] = {name: getattr(place, name) for name in names}
    for name, original in originals.items():
        setattr(place, name, change(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(place, name, original)


def split(x: Tensor, channels: int, groups: int, real: Tensor | None) -> Tensor:
    """The rows of a tensor in float64, (groups, rows, features of one); of ``real`` rows only."""
    rows = x.movedim(channels, -1) if real is None else x[real]
    rows = rows.reshape(-1, rows.shape[-1]).double()
    apart: Tensor = rows.unflatten(1, (groups, -1)).transpose(0, 1)
    return apart


def relative(found: Tensor, exact: Tensor) -> float:
    """max |A − B| / max |B|; 0 where both are 0."""
    return float((found - exact).abs().max() / exact.abs().max().clip(1e-300))

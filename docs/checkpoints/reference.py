"""Σ_x and Σ_∇h of every weight once more, in float64 and by other means than condcli's.

PyTorch's own functions are replaced while the network runs: each call that uses a weight adds its
input's rows to a sum, and returns its output plus a zero whose gradient is then δ. LSTMs run as a
loop over time of two linear maps. Nothing of condcli is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Batch = tuple[Any, Any]
Loss = Callable[[Any, Any], Tensor]  # a network's output and the targets, to the summed loss
CONVOLUTIONS = [f"conv{dims}d" for dims in (1, 2, 3)]
TRANSPOSED = [f"conv_transpose{dims}d" for dims in (1, 2, 3)]


@dataclass
class Sums:
    """Of one weight: the sums over rows of x xᵀ and δ δᵀ, (G, d, d), or of one-hot x, (d,)."""

    rows: int = 0
    input_rows: int = 0
    inputs: Tensor | float = 0.0
    grads: Tensor | float = 0.0

    @property
    def input_moment(self) -> Tensor:
        return torch.as_tensor(self.inputs) / self.input_rows

    @property
    def grad_moment(self) -> Tensor:
        return torch.as_tensor(self.grads) / self.rows

    def part(self, number: int, parts: int) -> Sums:
        """Those of one of several equal blocks of a matrix's rows."""
        block = torch.as_tensor(self.grads).unflatten(2, (parts, -1))[:, :, number]
        grads = block.unflatten(1, (parts, -1))[:, number]
        return Sums(self.rows, self.input_rows, self.inputs, grads)


@dataclass
class Call:
    """One use of a weight: which, the zero that was added to its output, and how δ has its rows."""

    name: str
    zero: Tensor
    groups: int
    channels: int  # the axis of the features


def measure(
    network: nn.Module,
    batches: list[Batch],
    loss: Loss,
    *,
    running: bool = False,
    dtype: torch.dtype = torch.float64,
    stubborn: bool = False,
) -> dict[str, Sums]:
    """By the weight's name, of a lookup with ` (lookup)` after it; dropout off.

    The network runs in ``dtype``, the sums are float64 always. Batch normalisation goes by each
    batch's statistics, or by the ``running`` ones. A ``stubborn`` network makes float32 numbers
    itself: what does that means ``dtype`` to it.
    """
    network = unrolled(network).to(dtype).eval().requires_grad_(True)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train(not running)
    sums: dict[str, Sums] = {}
    for inputs, targets in batches:
        with recording(network, sums) as calls, floats_are(dtype if stubborn else None):
            output = called(network, inputs, dtype)
        zeros = [call.zero for call in calls]
        deltas = torch.autograd.grad(loss(output, targets), zeros, allow_unused=True)
        for call, delta in zip(calls, deltas, strict=True):
            if delta is not None:
                rows = split(delta, call.channels, call.groups)
                sums[call.name].rows += rows.shape[1]
                sums[call.name].grads = sums[call.name].grads + rows.mT @ rows
    return sums


def summed_loss(name: str) -> Loss:
    """condcli's losses by name, as docs/numbers.md defines them; `auto` goes by the targets."""

    def of(output: Any, target: Tensor) -> Tensor:
        scores = output if isinstance(output, Tensor) else output.logits
        chosen = name
        if name == "auto":
            chosen = "mse" if target.is_floating_point() else "cross-entropy"
        if chosen == "cross-entropy":
            last = scores.shape[:-1] == target.shape
            scores = scores.movedim(-1, 1) if last else scores
            return F.cross_entropy(scores, target, reduction="sum")
        apart = {"mse": F.mse_loss, "bce": F.binary_cross_entropy_with_logits}[chosen]
        return apart(scores, target.to(scores.dtype), reduction="none").flatten(1).mean(1).sum()

    return of


def called(network: nn.Module, inputs: Any, dtype: torch.dtype) -> Any:
    if isinstance(inputs, Mapping):
        return network(**{name: cast(tensor, dtype) for name, tensor in inputs.items()})
    if isinstance(inputs, tuple):
        return network(*(cast(tensor, dtype) for tensor in inputs))
    return network(cast(inputs, dtype))


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


@contextmanager
def floats_are(dtype: torch.dtype | None) -> Iterator[None]:
    """Inside, the floating-point numbers that code makes by default have this type, if any."""
    if dtype is None:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with replaced(Tensor, "float", lambda _: lambda tensor: tensor.to(dtype)):
            yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def recording(network: nn.Module, sums: dict[str, Sums]) -> Iterator[list[Call]]:
    """Inside, what uses a weight of the network is recorded in ``sums`` and in the list."""
    calls: list[Call] = []
    names = {id(tensor): name for name, tensor in network.named_parameters()}  # first of several

    def name_of(weight: Tensor) -> str | None:
        if id(weight) in names:
            return names[id(weight)]
        for path, module in network.named_modules():  # a weight made anew, as weight_norm does
            if getattr(module, "weight", None) is weight and not list(module.buffers(False)):
                return f"{path}.weight"
        return None

    def recorded(name: str, h: Tensor, groups: int, channels: int) -> Tensor:
        zero = torch.zeros_like(h, requires_grad=True)
        calls.append(Call(name, zero, groups, channels))
        return h + zero

    def map_of(original: Callable[..., Tensor], *, convolution: bool) -> Callable[..., Tensor]:
        def run(x: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            h, name = original(x, weight, *args, **kwargs), name_of(weight)
            if name is None:
                return h
            groups = groups_of(original, args, kwargs) if convolution else 1
            channels = 1 - weight.dim() if convolution else -1
            rows = split(x.detach(), channels, groups)
            own = sums.setdefault(name, Sums())
            own.input_rows += rows.shape[1]
            own.inputs = own.inputs + rows.mT @ rows
            return recorded(name, h, groups, channels)

        return run

    def lookup_of(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(tokens: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            h, name = original(tokens, weight, *args, **kwargs), name_of(weight)
            if name is None:
                return h
            name += " (lookup)"
            own = sums.setdefault(name, Sums())
            own.input_rows += tokens.numel()
            own.inputs = own.inputs + torch.bincount(tokens.flatten(), minlength=len(weight))
            return recorded(name, h, 1, -1)

        return run

    def product_of(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        linear = map_of(lambda x, weight: original(x, weight.T), convolution=False)

        def run(x: Tensor, other: Tensor, **kwargs: Any) -> Tensor:
            weight = other._base
            turned = weight is not None and weight.dim() == 2 and other.shape == weight.T.shape
            return linear(x, weight) if turned and id(weight) in names else original(x, other)

        return run

    with replaced(F, "linear", lambda original: map_of(original, convolution=False)):
        with replaced(F, "embedding", lookup_of), replaced(torch, "matmul", product_of):
            with replaced(F, CONVOLUTIONS + TRANSPOSED, lambda f: map_of(f, convolution=True)):
                yield calls


@contextmanager
def replaced(
    place: Any, names: str | list[str], change: Callable[[Callable[..., Tensor]], Any]
) -> Iterator[None]:
    originals = {name: getattr(place, name) for name in ([names] if isinstance(names, str) else names)}
    for name, original in originals.items():
        setattr(place, name, change(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(place, name, original)


def groups_of(original: Callable[..., Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """The groups of a convolution: the last of (bias, stride, padding[, output], dilation, …)."""
    at = 4 if original.__name__.startswith("conv_transpose") else None
    if "groups" in kwargs:
        return int(kwargs["groups"])
    if at is not None:
        return int(args[at]) if len(args) > at else 1
    return int(args[4]) if len(args) > 4 else 1


def split(x: Tensor, channels: int, groups: int) -> Tensor:
    """The rows of a tensor in float64, (groups, rows, features of one)."""
    x = x[None] if x.dim() == 1 else x
    rows = x.movedim(channels, -1).flatten(0, -2).double()
    return rows.unflatten(1, (groups, -1)).transpose(0, 1)


class Loop(nn.Module):
    """An LSTM over batches first, as a loop over time, with the parameters of the given one."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        assert lstm.batch_first and not lstm.bidirectional and not lstm.proj_size
        self.layers, self.size = lstm.num_layers, lstm.hidden_size
        for name, parameter in lstm.named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        last = []
        for layer in range(self.layers):
            h = c = x.new_zeros(len(x), self.size)
            steps = []
            for time in range(x.shape[1]):
                h, c = step(self, x[:, time], (h, c), f"_l{layer}")
                steps.append(h)
            x = torch.stack(steps, 1)
            last.append((h, c))
        return x, (torch.stack([h for h, _ in last]), torch.stack([c for _, c in last]))


class Cell(nn.Module):
    """An LSTM cell that starts from nothing where no state is given."""

    def __init__(self, cell: nn.LSTMCell) -> None:
        super().__init__()
        for name, parameter in cell.named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        zero = x.new_zeros(len(x), self.weight_hh.shape[1])
        return step(self, x, state or (zero, zero), "")


def step(
    module: nn.Module, x: Tensor, state: tuple[Tensor, Tensor], suffix: str
) -> tuple[Tensor, Tensor]:
    weights = {name: tensor for name, tensor in module.named_parameters()}
    h, c = state
    gates = F.linear(x, weights[f"weight_ih{suffix}"], weights[f"bias_ih{suffix}"])
    gates = gates + F.linear(h, weights[f"weight_hh{suffix}"], weights[f"bias_hh{suffix}"])
    take, forget, new, give = gates.chunk(4, 1)
    c = forget.sigmoid() * c + take.sigmoid() * new.tanh()
    return give.sigmoid() * c.tanh(), c


def unrolled(network: nn.Module) -> nn.Module:
    """The network with every LSTM in it replaced, in place, by a loop."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.LSTM):
                setattr(module, name, Loop(child))
            elif isinstance(child, nn.LSTMCell):
                setattr(module, name, Cell(child))
    return network

"""The forward of a scaffold's class: filled in where its parts are a plain chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from textwrap import wrap

from condcli.models.guesses.layer import Layer
from condcli.models.scaffolding.plan import (
    Block,
    Filler,
    Part,
    Sequence,
    Tensor,
    first_layer,
    last_layer,
    layers_in,
)
from condcli.models.scaffolding.source import WIDTH, is_attribute, quoted

PLAIN = ("conv", "linear", "norm", "activation")


@dataclass(frozen=True, slots=True)
class Signal:
    """What flows between layers, as far as it is known."""

    channels: int | None = None
    dims: int | None = None  # of a map; 0 for vectors


def through(part: Part, signal: Signal | None) -> Signal | None:
    """What comes out of a plain chain that `signal` goes into; None if it is no such chain."""
    if signal is None or isinstance(part, Tensor):
        return None
    if isinstance(part, Layer):
        return _through_layer(part, signal)
    inner = (
        [item for item in part.items if isinstance(item, Layer | Sequence | Block)]
        if isinstance(part, Sequence)
        else [member for _, member in part.members]
    )
    if isinstance(part, Sequence) and not part.is_chain:
        return None
    for each in inner:
        signal = through(each, signal)
    return signal


def forward_lines(block: Block) -> list[str]:
    """The body of the forward, without its indentation."""
    if through(block, Signal()) is None:
        return _to_be_written(block)
    pools = _flattens_maps([part for _, part in block.members])
    body: list[str] = []
    if block.path:
        body.append("# guess: a plain chain, without a shortcut around it")
    followers = [part for _, part in block.members[1:]]
    kernel: tuple[int, ...] = ()
    for (name, part), after in zip(block.members, followers, strict=False):
        body.append(f"x = {_called(name)}")
        kernel = next(
            (each.kernel for each in reversed(list(layers_in(part))) if each.kernel), kernel
        )
        body += _between(part, after, _window(kernel) if pools else "")
    body.append(f"return {_called(block.members[-1][0])}")
    return body


def is_filled_in(part: Part) -> bool:
    """Whether every forward in it is."""
    return through(part, Signal()) is not None


def _through_layer(layer: Layer, signal: Signal) -> Signal | None:
    if layer.kind == "activation":
        return signal
    if layer.kind not in PLAIN or layer.d_in is None:
        return None
    if layer.kind == "linear" and signal.dims:
        fits = signal.channels is None or layer.d_in % signal.channels == 0
        return Signal(layer.d_out, 0) if fits else None
    if signal.channels not in (None, layer.d_in):
        return None
    if layer.kind == "norm":
        return replace(signal, channels=layer.d_out)
    if layer.kind == "conv" and signal.dims not in (None, layer.dims):
        return None
    return Signal(layer.d_out, layer.dims)


def _to_be_written(block: Block) -> list[str]:
    names = ", ".join(name for name, _ in block.members if is_attribute(name))
    text = f"The tensors do not tell how these are connected: {names}."
    return [
        *(f"# {line}" for line in wrap(text, WIDTH - 10)),
        'raise NotImplementedError("write this forward")',
    ]


def _called(name: str) -> str:
    return f"self.{name}(x)" if is_attribute(name) else f"getattr(self, {quoted(name)})(x)"


def _flattens_maps(parts: list[Part]) -> bool:
    """Whether maps larger than a point are flattened, after pooling as a rule."""
    layers = [layer for part in parts for layer in layers_in(part) if layer.kind in PLAIN]
    return any(
        before.dims and after.kind == "linear" and before.d_out != after.d_in
        for before, after in pairwise(layers)
    )


def _between(before: Part, after: Part, window: str) -> Iterator[str]:
    """Guesses at the functions that are called between two parts."""
    last, first = last_layer(before), first_layer(after)
    if last is None or first is None or "activation" in (last.kind, first.kind):
        return
    if first.kind == "norm" and last.kind != "norm":
        return
    yield "x = F.relu(x)  # guess: ReLU"
    if not last.dims:
        return
    if window and not isinstance(before, Block):
        yield f"x = F.max_pool{last.dims}d(x, {window})  # guess: pooling"
    if first.kind == "linear" and not _flattens_itself(after):
        yield _flattened(last, first)


def _window(kernel: tuple[int, ...]) -> str:
    """Two along every axis on which the last convolution has more than one weight."""
    if len(set(kernel)) < 2:
        return "2"
    return str(tuple(2 if size > 1 else 1 for size in kernel))


def _flattens_itself(part: Part) -> bool:
    return isinstance(part, Sequence) and isinstance(part.items[0], Filler)


def _flattened(last: Layer, first: Layer) -> str:
    axes = tuple(range(2, 2 + last.dims))
    if first.d_in == last.d_out:
        return f"x = x.mean({axes if last.dims > 1 else 2})  # guess: global average pooling"
    places = (first.d_in or 0) // (last.d_out or 1)
    return f"x = torch.flatten(x, 1)  # guess: {last.d_out} channels at {places} places"

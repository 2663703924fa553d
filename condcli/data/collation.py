"""Single examples become batches: stacked, and token sequences padded to one length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from condcli.batch import Batch, Tensors
from condcli.data.items import TOKENS, UNLABELLED, as_pair, divided
from condcli.data.probe_set import Examples, Fetch, IntArray
from condcli.data.seeding import own_randomness
from condcli.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

MASK = "attention_mask"
TARGET = ""  # no input has this name


def from_items(
    item: Callable[[int], Any], total: int, *, source: str, seed: int, length: int = 0
) -> Examples:
    """Examples of which `item` gives one by its number, as a pair or a dict (see items.py).

    Each is made with torch's generator seeded by `seed` and its number. `length` as in `layout_of`.
    """

    def seeded(index: int) -> Any:
        with own_randomness(seed + index):
            return item(index)

    def pairs(indices: IntArray) -> Iterator[Batch]:
        for index in indices:
            yield as_pair(seeded(int(index)), f"{source}: example {index}")

    def fetch(indices: IntArray, layout: Layout | None = None) -> Batch:
        batch = list(pairs(indices))
        return collate(batch, source=source, layout=layout or layout_of(batch, length=length))

    def settled(indices: IntArray) -> Fetch:
        has_tokens = _tokens(next(pairs(indices))[0]) is not None
        layout = layout_of(pairs(indices), length=length) if has_tokens else None
        return partial(fetch, layout=layout)

    def unprepared(index: int) -> tuple[Any, Any]:
        return divided(seeded(index), f"{source}: example {index}")

    return Examples(total=total, fetch=fetch, settled=settled, unprepared=unprepared)


@dataclass(frozen=True, slots=True)
class Layout:
    """How token sequences (dicts with `input_ids`) of unequal lengths are brought to one."""

    length: int  # what all are padded to; 0 if they have one length anyway
    beside: frozenset[str]  # names of what has a value for each token; TARGET for the targets


def layout_of(pairs: Iterable[Batch], *, length: int) -> Layout:
    """The layout of some examples: to the longest, and to `length` at least, if that is not 0."""
    sizes, beside = {length} - {0}, None
    for inputs, targets in pairs:
        tokens = _tokens(inputs)
        if tokens is not None and isinstance(inputs, Mapping):
            sizes.add(len(tokens))
            each = {**inputs, TARGET: targets}
            fitting = {name for name, value in each.items() if _is_beside(value, tokens)}
            beside = fitting if beside is None else beside & fitting
    pads = beside is not None and (length > 0 or len(sizes) > 1)
    return Layout(max(sizes) if pads else 0, frozenset(beside or ()))


def collate(pairs: Sequence[Batch], *, source: str, layout: Layout) -> Batch:
    """The batch of some examples (inputs, targets), each without the examples' axis.

    Tokens are padded at their end as the layout says: with 0, and -100 in a label for each token.
    The attention mask, made where there is none, says what is padding. Raises InputError for
    numbers that would have to be padded: none stands for no number.
    """
    if layout.length:
        pairs = [_padded(pair, layout, source) for pair in pairs]
    inputs = _stacked([inputs for inputs, _ in pairs], source, "inputs")
    return inputs, _stacked([targets for _, targets in pairs], source, "targets")


def _tokens(inputs: Tensors) -> Tensor | None:
    """The token sequence of one example, if it has one."""
    found = inputs.get(TOKENS) if isinstance(inputs, Mapping) else None
    return found if found is not None and found.ndim == 1 else None


def _is_beside(value: Any, tokens: Tensor) -> bool:
    return getattr(value, "ndim", 0) == 1 and len(value) == len(tokens)


def _padded(pair: Batch, layout: Layout, source: str) -> Batch:
    import torch

    inputs, targets = pair
    tokens = _tokens(inputs)
    if tokens is None or not isinstance(inputs, Mapping):
        return pair
    missing = layout.length - len(tokens)

    def pad(name: str, tensor: Tensor, value: int) -> Tensor:
        if name not in layout.beside:
            return tensor
        return torch.nn.functional.pad(tensor, (0, missing), value=value)

    mask = inputs.get(MASK)
    named = {**inputs, MASK: torch.ones(len(tokens), dtype=torch.int64) if mask is None else mask}
    padded = {name: pad(name, tensor, 0) for name, tensor in named.items() if name != MASK}
    padded[MASK] = torch.nn.functional.pad(named[MASK], (0, missing))
    if isinstance(targets, torch.Tensor) and TARGET in layout.beside:
        if targets.is_floating_point() and missing:
            raise InputError(
                f"{source}: numbers for each token have no padding, and lengths are unequal",
                "pad them yourself, and leave the padding out in a --loss FILE.py:function",
            )
        targets = pad(TARGET, targets, UNLABELLED)
    return padded, targets


def _stacked(examples: Sequence[Tensors], source: str, what: str) -> Tensors:
    if len({_structure(example) for example in examples}) > 1:
        raise InputError(
            f"{source}: {what} differ in what they consist of", "give all examples the same parts"
        )
    first = examples[0]
    if isinstance(first, Mapping):
        named = cast("Sequence[Mapping[str, Tensor]]", examples)
        return {name: _stack([part[name] for part in named], source, name) for name in first}
    if isinstance(first, tuple):
        columns = zip(*cast("Sequence[tuple[Tensor, ...]]", examples), strict=True)
        return tuple(_stack(column, source, what) for column in columns)
    return _stack(cast("Sequence[Tensor]", examples), source, what)


def _structure(tensors: Tensors) -> tuple[str, ...] | int:
    if isinstance(tensors, Mapping):
        return tuple(sorted(tensors))
    return len(tensors) if isinstance(tensors, tuple) else 0


def _stack(tensors: Sequence[Tensor], source: str, what: str) -> Tensor:
    import torch

    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) > 1:
        raise InputError(
            f"{source}: {what} have unequal shapes, such as {shapes[0]} and {shapes[1]}",
            "pad or resize them (images with --transform), or give batches that are ready",
        )
    return torch.stack(list(tensors))

"""Single examples become batches: stacked, and token sequences padded to one length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from condcli.batch import Batch, Tensors
from condcli.data.items import TOKENS, UNLABELLED, as_pair, divided
from condcli.data.probe_set import Examples, IntArray
from condcli.data.seeding import own_randomness
from condcli.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def from_items(
    item: Callable[[int], Any], total: int, *, source: str, seed: int, length: int = 0
) -> Examples:
    """Examples of which `item` gives one by its number, as a pair or a dict (see items.py).

    Each is made with torch's generator seeded by `seed` and its number. `length` as in `collate`.
    """

    def seeded(index: int) -> Any:
        with own_randomness(seed + index):
            return item(index)

    def fetch(indices: IntArray) -> Batch:
        pairs = [as_pair(seeded(int(index)), f"{source}: example {index}") for index in indices]
        return collate(pairs, source=source, length=length)

    def unprepared(index: int) -> tuple[Any, Any]:
        return divided(seeded(index), f"{source}: example {index}")

    return Examples(total=total, fetch=fetch, unprepared=unprepared)


def collate(pairs: Sequence[Batch], *, source: str, length: int = 0) -> Batch:
    """The batch of some examples (inputs, targets), each without the examples' axis.

    Token sequences (dicts with `input_ids`) of unequal lengths are padded at their end to the
    longest: with 0, and -100 in a label for each token. The attention mask, made where there is
    none, says what is padding. With a `length`, all are padded to it and have a mask.
    """
    tokens = [_tokens(inputs) for inputs, _ in pairs]
    sizes = {len(sequence) for sequence in tokens if sequence is not None}
    longest = max(length, *sizes) if sizes else 0
    if sizes and (length or sizes != {longest}):
        pairs = [_padded(pair, longest) for pair in pairs]
    inputs = _stacked([inputs for inputs, _ in pairs], source, "inputs")
    return inputs, _stacked([targets for _, targets in pairs], source, "targets")


def _tokens(inputs: Tensors) -> Tensor | None:
    """The token sequence of one example, if it has one."""
    found = inputs.get(TOKENS) if isinstance(inputs, Mapping) else None
    return found if found is not None and found.ndim == 1 else None


def _padded(pair: Batch, longest: int) -> Batch:
    import torch

    inputs, targets = pair
    assert isinstance(inputs, Mapping)
    size = len(inputs[TOKENS])

    def pad(tensor: Tensor, value: int) -> Tensor:
        if tensor.ndim != 1 or len(tensor) != size:
            return tensor
        return torch.nn.functional.pad(tensor, (0, longest - size), value=value)

    mask = inputs.get("attention_mask", torch.ones(size, dtype=torch.int64))
    padded = {name: pad(tensor, 0) for name, tensor in {**inputs, "attention_mask": mask}.items()}
    if isinstance(targets, torch.Tensor):
        targets = pad(targets, UNLABELLED)
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

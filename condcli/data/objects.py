"""Probe sets from Python objects: tensors, data sets, loaders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from condcli.data.arrays import in_memory
from condcli.data.normalization import choose_normalization
from condcli.data.probe_set import (
    Batch,
    Examples,
    IntArray,
    ProbeSet,
    draw,
    prepared,
    require_sensible,
)
from condcli.data.tensors import to_tensor
from condcli.errors import InputError
from condcli.user_code import errors_reported

if TYPE_CHECKING:
    from torch import Tensor

ACCEPTED = "give (x, y), a Dataset of (x, y) examples, or an iterable of (x, y) batches"


def from_tensors(x: Any, y: Any, source: str = "memory") -> ProbeSet:
    """All of the inputs `x` (N, …) and targets `y` (N, …), tensors or arrays, in their order."""
    return as_probe_set((x, y), source=source, samples=None, seed=0)


def as_probe_set(
    data: Any, *, source: str, samples: int | None, seed: int, normalize: str | None = None
) -> ProbeSet:
    """The probe set of a pair (x, y), of a Dataset, or of a DataLoader or other iterable.

    Of a pair or a Dataset, `samples` examples are drawn, seeded. The batches of an iterable stay
    as they come, the first whole ones that together hold at most `samples` examples (the first
    is cut if it alone holds more); they are read at once and kept in memory, so that every
    reading sees the same. Whatever draws from torch's generator gets a seeded one.
    """
    from torch.utils.data import Dataset, IterableDataset

    require_sensible(samples=samples, seed=seed)
    if isinstance(data, IterableDataset):
        raise InputError(
            f"{source}: an IterableDataset gives no batches", "wrap a DataLoader round it"
        )
    if _is_pair(data):
        examples = in_memory(*data, source=source)
    elif isinstance(data, Dataset):
        examples = _from_dataset(data, source, seed)
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes | dict):
        return _from_batches(data, source, samples, seed, normalize)
    else:
        raise InputError(f"{source}: {type(data).__name__} is no kind of data", ACCEPTED)
    return draw(
        examples, source=source, split="all", samples=samples, seed=seed, normalize=normalize
    )


def _is_pair(data: Any) -> bool:
    import torch

    return (
        isinstance(data, tuple | list)
        and len(data) == 2
        and all(isinstance(part, torch.Tensor | np.ndarray) for part in data)
    )


def _from_dataset(dataset: Any, source: str, seed: int) -> Examples:
    def example(index: int) -> tuple[Tensor, Tensor]:
        with _own_randomness(seed + index), errors_reported(source):
            item = dataset[index]
        return _two_tensors(item, f"{source}: example {index}")

    def fetch(indices: IntArray) -> Batch:
        inputs, targets = zip(*(example(int(index)) for index in indices), strict=True)
        return _stacked(inputs, source, "inputs"), _stacked(targets, source, "targets")

    with errors_reported(source):
        total = len(dataset)
    if total == 0:
        raise InputError(f"{source}: the data set is empty", "give at least one example")
    return Examples(total=total, shape=tuple(example(0)[0].shape), fetch=fetch)


def _from_batches(
    data: Iterable[Any], source: str, samples: int | None, seed: int, normalize: str | None
) -> ProbeSet:
    with _own_randomness(seed):
        stored = list(_first_batches(data, source, samples))
    if not stored:
        raise InputError(f"{source}: there is no batch in it", ACCEPTED)
    shape = tuple(stored[0][0].shape[1:])
    normalization = choose_normalization(normalize, usual=None, shape=shape)
    batches = [prepared(batch, normalization) for batch in stored]
    examples = sum(len(inputs) for inputs, _ in batches)
    return ProbeSet(
        source=source,
        split="all",
        shape=shape,
        classes=None,
        class_names=None,
        examples=examples,
        total=examples,
        indices=np.arange(examples, dtype=np.int64),
        normalize=str(normalization or "none"),
        read=lambda batch_size: batches,
    )


def _first_batches(data: Iterable[Any], source: str, samples: int | None) -> Iterator[Batch]:
    count = 0
    for number, item in enumerate(_guarded(data, source)):
        inputs, targets = _two_tensors(item, f"{source}: batch {number}")
        paired = inputs.ndim > 1 and targets.ndim > 0 and len(inputs) == len(targets)
        if not paired or inputs.numel() == 0:
            raise InputError(
                f"{source}: batch {number} has x of shape {tuple(inputs.shape)} and y of "
                f"{tuple(targets.shape)}",
                "give x as (examples, features, …) and y as (examples, …)",
            )
        if samples is not None and number > 0 and count + len(inputs) > samples:
            return
        yield inputs[:samples], targets[:samples]
        count += len(inputs)
        if samples is not None and count >= samples:
            return


def _guarded(data: Iterable[Any], source: str) -> Iterator[Any]:
    """The items of `data`, the errors of its own code reported as such."""
    with errors_reported(source):
        iterator = iter(data)
    while True:
        with errors_reported(source):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def _two_tensors(item: Any, what: str) -> tuple[Tensor, Tensor]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise InputError(f"{what} is a {type(item).__name__}, not a pair (x, y)", ACCEPTED)
    return to_tensor(item[0], what=f"{what}: x"), to_tensor(item[1], what=f"{what}: y")


def _stacked(tensors: tuple[Tensor, ...], source: str, what: str) -> Tensor:
    import torch

    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) > 1:
        raise InputError(
            f"{source}: {what} have unequal shapes, such as {shapes[0]} and {shapes[1]}",
            "pad or resize them, or give batches that are ready",
        )
    return torch.stack(tensors)


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """torch's global generator, seeded inside (augmentation, shuffling), untouched outside."""
    import torch

    state = torch.random.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)

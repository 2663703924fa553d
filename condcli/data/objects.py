"""Probe sets from Python objects: tensors, data sets, loaders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from condcli.batch import Batch, examples_in, mapped
from condcli.data.arrays import in_memory, require_paired
from condcli.data.collation import from_items
from condcli.data.items import as_pair
from condcli.data.normalization import choose_normalization
from condcli.data.probe_set import Examples, ProbeSet, draw, parts_of, prepared
from condcli.data.request import require_sensible
from condcli.data.seeding import own_randomness
from condcli.data.tensors import as_inputs
from condcli.data.transforms import transformed
from condcli.errors import InputError, UsageError
from condcli.user_code import errors_reported

ACCEPTED = "give (x, y), a Dataset of examples, or an iterable of batches"


def from_tensors(x: Any, y: Any, source: str = "memory") -> ProbeSet:
    """All of the inputs `x` (N, …) and targets `y` (N, …), tensors or arrays, in their order."""
    return as_probe_set((x, y), source=source, samples=None, seed=0)


def as_probe_set(
    data: Any,
    *,
    source: str,
    samples: int | None,
    seed: int,
    normalize: str | None = None,
    transform: str | None = None,
) -> ProbeSet:
    """The probe set of a pair (x, y), of a Dataset, or of a DataLoader or other iterable.

    All of the data, an example and a batch are each a pair or a dict, see items.py. Of data in
    memory or a Dataset (anything with a length whose examples have numbers), `samples` examples
    are drawn, seeded; of an IterableDataset the first so many are kept in memory. The batches of
    another iterable stay as they come, the first whole ones that together hold at most `samples`
    examples (the first is cut if it alone holds more); they are read at once and kept in memory,
    so that every reading sees the same. Whatever draws from torch's generator gets a seeded one.
    """
    from torch.utils.data import IterableDataset

    require_sensible(samples=samples, seed=seed)
    if isinstance(data, Mapping):
        examples = in_memory(*as_pair(data, source), source=source)
    elif _is_pair(data):
        examples = in_memory(*data, source=source)
    elif isinstance(data, IterableDataset):
        examples = _from_stream(data, source, samples, seed)
    elif _has_numbered_examples(data):
        examples = _from_dataset(data, source, seed)
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes):
        if transform is not None:
            raise UsageError(
                f"--transform {transform} cannot be applied to {source}, which gives batches",
                "transform in your own code, or give a Dataset",
            )
        return _from_batches(data, source, samples, seed, normalize)
    else:
        raise InputError(f"{source}: {type(data).__name__} is no kind of data", ACCEPTED)
    if transform is not None:
        examples = transformed(examples, transform, source=source, seed=seed)
    return draw(examples, source=source, samples=samples, seed=seed, normalize=normalize)


def _is_pair(data: Any) -> bool:
    """Whether `data` are all inputs and all targets, and not two batches: an array is no batch."""
    import torch

    return (
        isinstance(data, tuple | list)
        and len(data) == 2
        and any(isinstance(part, torch.Tensor | np.ndarray) for part in data)
    )


def _has_numbered_examples(data: Any) -> bool:
    """A Dataset of torch, or what behaves like one, as those of Hugging Face do."""
    from torch.utils.data import Dataset

    sized = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    builtin = isinstance(data, tuple | list | str | bytes | np.ndarray)
    return isinstance(data, Dataset) or (sized and not builtin)


def _from_dataset(dataset: Any, source: str, seed: int) -> Examples:
    def item(index: int) -> Any:
        with errors_reported(source):
            return dataset[index]

    with errors_reported(source):
        total = len(dataset)
    if total == 0:
        raise InputError(f"{source}: the data set is empty", "give at least one example")
    return from_items(item, total, source=source, seed=seed)


def _from_stream(data: Iterable[Any], source: str, samples: int | None, seed: int) -> Examples:
    with own_randomness(seed):
        items = list(islice(_guarded(data, source), samples))
    if not items:
        raise InputError(f"{source}: the data set is empty", "give at least one example")
    return from_items(items.__getitem__, len(items), source=source, seed=seed)


def _from_batches(
    data: Iterable[Any], source: str, samples: int | None, seed: int, normalize: str | None
) -> ProbeSet:
    with own_randomness(seed):
        stored = list(_first_batches(data, source, samples))
    if not stored:
        raise InputError(f"{source}: there is no batch in it", ACCEPTED)
    normalization = choose_normalization(
        normalize, usual=None, standard=None, first=lambda: as_inputs(stored[0][0])
    )
    batches = [prepared(batch, normalization) for batch in stored]
    parts = parts_of([examples_in(inputs) for inputs, _ in batches])
    at = {part.start: batch for part, batch in zip(parts, batches, strict=True)}
    examples = parts[-1].stop
    return ProbeSet(
        source=source,
        split="all",
        classes=None,
        class_names=None,
        examples=examples,
        total=examples,
        indices=np.arange(examples, dtype=np.int64),
        normalize=str(normalization or "none"),
        parts=lambda batch_size: parts,
        read=lambda part: at[part.start],
    )


def _first_batches(data: Iterable[Any], source: str, samples: int | None) -> Iterator[Batch]:
    count = 0
    for number, item in enumerate(_guarded(data, source)):
        inputs, targets = as_pair(item, f"{source}: batch {number}")
        require_paired(inputs, targets, f"{source}: batch {number}")
        size = examples_in(inputs)
        if samples is not None and number > 0 and count + size > samples:
            return
        yield mapped(lambda part: part[:samples], inputs), mapped(lambda y: y[:samples], targets)
        count += size
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

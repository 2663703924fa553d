"""A probe set: the chosen examples of one data set, read batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from condcli.batch import WHOLE, Batch, PlacedBatch, Share, Tensors, leaves, mapped
from condcli.data.items import UNLABELLED
from condcli.data.normalization import Normalization, choose_normalization
from condcli.data.request import require_sensible
from condcli.data.tensors import as_inputs, as_targets
from condcli.errors import InputError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

IntArray = npt.NDArray[np.int64]
Fetch = Callable[[IntArray], Batch]  # the examples with these indices, as they are stored


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """A whole split, before a subset is drawn from it and normalised."""

    total: int
    fetch: Fetch
    split: str = "all"
    classes: int | None = None
    class_names: tuple[str, ...] | None = None
    usual: Normalization | None = None  # the data set's customary one
    standard: Callable[[], Normalization] | None = None  # by mean and deviation of all of them
    random_labels: bool = False  # see ProbeSet
    # The same, told which examples there will be: what it gives does not depend on the batches.
    settled: Callable[[IntArray], Fetch] | None = None
    # One input before it is a tensor of the batch's shape, with its target, for a transform.
    unprepared: Callable[[int], tuple[Any, Any]] | None = None
    transform: str | None = None  # what has been done by such a one


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeSet:
    """The examples that a network is probed on, always in the same order.

    `batches` reads them; nothing is read before, unless the source is in memory anyway.
    """

    source: str  # as the user wrote it
    split: str
    classes: int | None  # None: the source does not say, see with_classes
    class_names: tuple[str, ...] | None
    examples: int  # N
    total: int  # examples that there were to choose from
    indices: IntArray  # (N,), ascending: the chosen ones
    normalize: str  # what was done to the inputs: `mean 0.1307, std 0.3081`, `none`, …
    # batch size -> the places (of indices) that each batch consists of, in order
    parts: Callable[[int], Sequence[slice]] = field(repr=False)
    read: Callable[[slice], Batch] = field(repr=False)  # one of these parts, unchecked
    random_labels: bool = False  # targets are uniform in [0, 1) until with_classes makes labels

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Inputs and targets of n examples each, n at most `batch_size`.

        Inputs are float32 (float64 where stored so, int64 for tokens), targets int64 labels or
        floats; either may be several tensors. Non-finite numbers and labels that are no class
        raise InputError.
        """
        return (batch for _, batch in self.placed(batch_size))

    def placed(self, batch_size: int, share: Share = WHOLE) -> Iterator[PlacedBatch]:
        """The batches of a share, each with its place; those of other shares are not read."""
        if batch_size < 1:
            raise UsageError(f"a batch size of {batch_size} is not positive", "give 1 or more")
        if self.random_labels and self.classes is None:
            raise UsageError(
                f"{self.source} has no labels before the number of classes is known",
                "ask with_classes(n) for labels below n",
            )
        return map(self._checked, share.pick(self.parts(batch_size)))

    def sizes(self, batch_size: int, share: Share = WHOLE) -> Sequence[int]:
        """How many examples each batch of a share has; UsageError for more shares than batches."""
        parts, of = self.parts(batch_size), share.of
        if of > len(parts):
            raise UsageError(
                f"{self.examples} examples make {len(parts)} batches, too few for {of} to share",
                "pass a smaller --batch-size or more --samples, or let fewer take part",
            )
        return [part.stop - part.start for part in share.pick(parts)]

    def with_classes(self, outputs: int) -> ProbeSet:
        """The same examples, for a classifier with so many outputs.

        Random data get their labels by this. Raises InputError when the data are known to have
        another number of classes; a label that is no output is found when its batch is read.
        """
        if self.classes not in (None, outputs):
            raise InputError(
                f"{self.source} has {self.classes} classes, but the model {outputs} outputs",
                "probe the model on data with the classes that it was trained on",
            )
        return replace(self, classes=outputs)

    def _checked(self, part: slice) -> PlacedBatch:
        inputs, targets = self.read(part)
        numbers = self.indices[part]
        self._require_finite(inputs, numbers, "input")
        self._require_finite(targets, numbers, "target")
        return part.start, (inputs, self._labels(targets, numbers))

    def _require_finite(self, tensors: Tensors, numbers: IntArray, what: str) -> None:
        for values in leaves(tensors):
            if values.is_floating_point():
                finite = values.isfinite().reshape(len(values), -1).all(dim=1)
                if not finite.all():
                    number = numbers[int(finite.int().argmin())]
                    raise InputError(
                        f"{self.source}: the {what} of example {number} holds NaN or infinity",
                        "clean the data first",
                    )

    def _labels(self, targets: Tensors, numbers: IntArray) -> Tensors:
        classes = self.classes
        if classes is None:
            return targets
        if self.random_labels:
            return mapped(lambda uniform: (uniform * classes).long(), targets)
        for labels in leaves(targets):
            self._require_classes(labels, classes, numbers)
        return targets

    def _require_classes(self, labels: Tensor, classes: int, numbers: IntArray) -> None:
        if labels.is_floating_point():
            return
        wrong = (labels != UNLABELLED) & ((labels < 0) | (labels >= classes))
        if wrong.any():
            place = wrong.nonzero()[0]
            raise InputError(
                f"{self.source}: example {numbers[int(place[0])]} has the label "
                f"{int(labels[tuple(place)])}, but there are {classes} classes",
                "labels count from 0; probe data with the model's own classes",
            )


def draw(
    examples: Examples,
    *,
    source: str,
    samples: int | None,
    seed: int,
    normalize: str | None,
) -> ProbeSet:
    """A subset of `examples`, fixed by the seed: `samples` of them, or all there are."""
    indices = _chosen(examples.total, samples, seed)
    fetch = examples.settled(indices) if examples.settled else examples.fetch
    normalization = choose_normalization(
        normalize,
        usual=examples.usual,
        standard=examples.standard,
        first=lambda: as_inputs(fetch(indices[:1])[0]),
    )

    return ProbeSet(
        source=source,
        split=examples.split,
        classes=examples.classes,
        class_names=examples.class_names,
        examples=len(indices),
        total=examples.total,
        indices=indices,
        normalize=str(normalization or examples.transform or "none"),
        parts=lambda batch_size: _nearly_equal(len(indices), math.ceil(len(indices) / batch_size)),
        read=lambda part: prepared(fetch(indices[part]), normalization),
        random_labels=examples.random_labels,
    )


def prepared(batch: Batch, normalization: Normalization | None) -> Batch:
    """The stored batch as the network is to see it."""
    inputs, targets = as_inputs(batch[0]), as_targets(batch[1])
    return (mapped(normalization, inputs) if normalization else inputs), targets


def parts_of(sizes: Sequence[int]) -> Sequence[slice]:
    """Runs of so many places each, one after the other."""
    bounds = [0, *accumulate(sizes)]
    return [slice(*ends) for ends in pairwise(bounds)]


def _nearly_equal(total: int, count: int) -> Sequence[slice]:
    """Sizes differ by at most one: batch statistics of a small remainder would be noise."""
    least, longer = divmod(total, count)
    return parts_of([least + 1] * longer + [least] * (count - longer))


def _chosen(total: int, samples: int | None, seed: int) -> IntArray:
    require_sensible(samples=samples, seed=seed)
    if samples is None or samples >= total:
        return np.arange(total, dtype=np.int64)
    generator = np.random.Generator(np.random.PCG64(seed))
    return np.sort(generator.choice(total, samples, replace=False)).astype(np.int64)

"""What is added up over the batches beside the layers: loss, accuracy, a digest of the data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from copy import copy

import torch
from torch import Tensor

from condcli.batch import Tensors, examples_in, leaves
from condcli.capture.losses import IGNORED_LABEL, Evaluation
from condcli.capture.moments import sum_dtype
from condcli.errors import InputError

PLACE_BYTES = 8


class Totals:
    """Running totals of one probe. Nothing here waits for the device before the end."""

    def __init__(self) -> None:
        self.examples = 0
        self.terms = 0
        self.seconds = 0.0
        self.columns = 1  # gradients of each row, in the batch that had most
        self._loss: Tensor | None = None
        self._right: Tensor | None = None
        self._labels = torch.zeros(0, dtype=torch.int64)
        self._tensors = 0  # that a batch consists of
        self._digests = 0  # their sum

    def see_data(self, x: Tensors, y: Tensors, place: int) -> None:
        """Take in one batch as the data set gave it; its first example has this place there."""
        self.see_tensors([*leaves(x), *leaves(y)], place, examples_in(y))

    def see_tensors(self, tensors: Sequence[Tensor], place: int, examples: int) -> None:
        """Take in the tensors of one batch, inputs first; its first example has this place."""
        self.examples += examples
        self._tensors = self._tensors or len(tensors)
        if len(tensors) != self._tensors:
            raise InputError(
                f"a batch has {len(tensors)} inputs and targets, those before {self._tensors}",
                "give all batches the same parts",
            )
        self._digests += sum(digests_of(tensors, place, examples))

    def see_result(self, result: Evaluation) -> None:
        """Take in the loss of one batch, and how many of its labels the scores got right."""
        self.terms += result.terms
        loss = result.loss.detach().to(sum_dtype(result.loss))
        self._loss = _plus(self._loss, loss)
        if result.scores is not None and result.labels is not None:
            scores, labels = result.scores.detach(), result.labels
            right = (scores.argmax(1) == labels.to(scores.device)).sum()
            self._right = _plus(self._right, right)
            known = labels[labels != IGNORED_LABEL]
            counts = torch.bincount(known, minlength=scores.shape[1])
            self._labels = counts + (self._labels if len(self._labels) else 0)

    def take(self, other: Totals) -> None:
        """Add what another process has measured at the same time."""
        self.examples += other.examples
        self.terms += other.terms
        self.seconds = max(self.seconds, other.seconds)
        self.columns = max(self.columns, other.columns)
        self._digests += other._digests
        self._loss = _plus(self._loss, other._loss)
        self._right = _plus(self._right, other._right)
        if len(other._labels):
            self._labels = other._labels + (self._labels if len(self._labels) else 0)

    def on_cpu(self) -> Totals:
        """The same on the CPU."""
        twin = copy(self)
        twin._loss = None if self._loss is None else self._loss.cpu()
        twin._right = None if self._right is None else self._right.cpu()
        return twin

    def mean_loss(self) -> float:
        """Mean over the loss terms."""
        return float("nan") if self._loss is None else float(self._loss) / max(1, self.terms)

    def accuracy(self) -> float | None:
        """Share of labels that the largest output names; None without classes."""
        return None if self._right is None else float(self._right) / max(1, self.terms)

    def chance(self) -> float | None:
        """Accuracy of always naming the commonest label."""
        if self._right is None:
            return None
        return float(self._labels.max()) / max(1, self.terms)

    def label_counts(self) -> tuple[int, ...] | None:
        """How often each class is the label; None without classes."""
        return None if self._right is None else tuple(self._labels.tolist())

    def data_sha256(self) -> str:
        """Digest of all examples with their places, 64 hexadecimal digits.

        The sum, modulo 2²⁵⁶, of the SHA-256 of each: that of disjoint parts is the sum of theirs.
        """
        return f"{self._digests % 2**256:064x}"


def together(all_totals: Iterable[Totals]) -> Totals:
    """The totals of several processes; the slowest tells the time."""
    found = Totals()
    for totals in all_totals:
        found.take(totals)
    return found


def _plus(total: Tensor | None, more: Tensor | None) -> Tensor | None:
    if total is None or more is None:
        return more if total is None else total
    return total + more.to(total.device)


def digests_of(tensors: Sequence[Tensor], place: int, examples: int) -> Iterator[int]:
    """SHA-256 of each example: of its place in the probe set, then of its numbers in order."""
    contents = [(tensor_bytes(tensor), tensor.nbytes // examples) for tensor in tensors]
    for row in range(examples):
        digest = hashlib.sha256((place + row).to_bytes(PLACE_BYTES, "little"))
        for content, size in contents:
            digest.update(content[row * size : (row + 1) * size])
        yield int.from_bytes(digest.digest(), "big")


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The numbers of a tensor as bytes, in order."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().data

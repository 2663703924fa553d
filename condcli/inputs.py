"""What is probed: a model and its origin, the data, and the loss that joins them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condcli.batch import Batch, Tensors, leaves, mapped
from condcli.errors import InputError, UnsafeError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from condcli.capture.losses import Loss
    from condcli.data import ProbeSet
    from condcli.models import Checkpoint, Model


SEVERAL = 16  # examples tell what a task is
OF_FILES = ("split", "target", "tokenizer")  # options without a use for data in memory


@dataclass(frozen=True)
class Subject:
    """The module under test, and where it comes from."""

    module: nn.Module
    arch: str
    source: str
    sha256: Callable[[], str]  # called late: a checkpoint's is computed beside the probe
    checkpoint: Checkpoint | None = None


def subject_of(model: nn.Module | Model | str | Path) -> Subject:
    """The module in memory, in a loaded checkpoint, or in the checkpoint at a path."""
    from torch import nn

    if isinstance(model, nn.Module):
        model = getattr(model, "_orig_mod", model)  # compiled: the network itself is what runs
        return Subject(model, type(model).__name__, "memory", lambda: digest_of(model.state_dict()))
    from condcli.models import load

    loaded = load(model) if isinstance(model, str | Path) else model
    checkpoint = loaded.checkpoint
    return Subject(
        loaded.module, loaded.arch, str(checkpoint.path), lambda: checkpoint.sha256, checkpoint
    )


@dataclass(frozen=True)
class Shared:
    """Data on the command line, and what opens them for several checkpoints as `open_data` does."""

    spec: str | None  # None: what each checkpoint says it was trained on
    open: Callable[..., ProbeSet]
    # of the data that were read to the end, by how
    digests: dict[tuple[object, ...], tuple[int, str]] = field(default_factory=dict)


@contextmanager
def naming_file(subject: Subject) -> Iterator[None]:
    """Put the checkpoint's name before what is found wrong in its network."""
    try:
        yield
    except InputError as error:
        if subject.checkpoint is None or error.message.startswith(subject.source):
            raise
        raise InputError(f"{subject.source}: {error.message}", error.remedy) from error


def digest_of(state: Mapping[str, Tensor]) -> str:
    """sha256 over the names and bytes of a network's state, in order."""
    from condcli.capture.totals import tensor_bytes

    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def first_batch(probe_set: ProbeSet) -> Batch:
    """One example, or the first batch where batches are taken as they come.

    Labels are not yet drawn nor checked; a DataLoader's use of global random numbers is undone.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        return probe_set.read(probe_set.parts(1)[0])


def probe_set_of(
    data: ProbeSet | Shared | str | Path | Iterable[Any] | None,
    subject: Subject,
    *,
    samples: int | None,
    seed: int,
    normalize: str | None,
    transform: str | None,
    **place: Any,
) -> ProbeSet:
    """The data asked for, else those that the checkpoint names; its word on normalising counts."""
    from condcli.data import ProbeSet, as_probe_set, open_data

    if isinstance(data, ProbeSet):
        return data
    shared = data if isinstance(data, Shared) else None
    if shared is not None:
        data, open_data = shared.spec, shared.open
    name = _own_data(subject) if data is None else data

    _require_own_tokenizer(name, subject, place["tokenizer"])

    def opened(normalize: str | None) -> ProbeSet:
        chosen: dict[str, Any] = {
            "samples": samples,
            "seed": seed,
            "normalize": normalize,
            "transform": transform,
        }
        if isinstance(name, str | Path):
            return open_data(str(name), **chosen, **place)
        useless = [option for option in OF_FILES if place[option] is not None]
        if useless:
            raise UsageError(f"data in memory have no use for {useless[0]}", f"drop {useless[0]}")
        return as_probe_set(name, source="memory", **chosen)

    own = subject.checkpoint.normalize if subject.checkpoint else None
    if normalize is not None or transform is not None or own is None:
        return opened(normalize)
    try:
        return opened(own)
    except UsageError as error:
        opened("none")  # raises what is wrong apart from that word
        raise InputError(
            f"{subject.source}: its own normalize {own!r} does not fit ({error.message})",
            "pass --normalize",
        ) from error


def _require_own_tokenizer(data: object, subject: Subject, tokenizer: str | None) -> None:
    """Raises UsageError where bytes would be taken for tokens of the folder's own tokenizer."""
    if tokenizer is not None or subject.checkpoint is None or not str(data).startswith("text:"):
        return
    folder = subject.checkpoint.path
    if (folder / "tokenizer.json").is_file():
        raise UsageError(
            f"{folder} has a tokenizer, without which {data} would be read as bytes",
            f"pass --tokenizer {folder} (or --tokenizer bytes, if you mean it)",
        )


def _own_data(subject: Subject) -> str:
    """The data that the checkpoint says it was trained on, if that names neither code nor files."""
    from condcli.data.catalogue import KNOWN

    name = subject.checkpoint.data if subject.checkpoint else None
    if name is None:
        raise UsageError(
            f"{subject.source} does not say what data it was trained on",
            "pass --data, for instance --data digits or --data cifar10 --root FOLDER",
        )
    if name not in KNOWN and not name.startswith("random:"):
        raise UnsafeError(
            f"{subject.source} asks for the data {name!r}, which condcli does not know by name",
            "pass --data yourself",
        )
    return name


def task(
    loss: str,
    batch: Batch,
    probe_set: ProbeSet,
    output_shape: tuple[int, ...],
    subject: Subject,
    *,
    ignore_label: int,
    device: torch.device,
) -> tuple[Loss, ProbeSet]:
    """The loss, and the data with the network's number of classes where theirs is known or random.

    Other labels are compared with each batch's own outputs: there can be as many as examples.
    """
    from condcli.capture.losses import choose, find_loss

    inputs, targets = batch
    if probe_set.random_labels and loss not in ("auto", "cross-entropy"):
        raise UsageError(
            f"{probe_set.source} has class labels, which {loss} does not take", "drop --loss"
        )
    tokens = not any(tensor.is_floating_point() for tensor in leaves(inputs))
    if loss == "auto" and probe_set.random_labels:
        loss = "cross-entropy"
    if loss == "auto":
        loss = choose(output_shape, *_first_labelled(probe_set))
    found = find_loss(loss, device=device, tokens=tokens)
    if not found.labelled:
        return found, probe_set
    probe_set = _ignoring(ignore_label, probe_set)
    if probe_set.classes is None and not probe_set.random_labels:
        return found, probe_set
    outputs = _classes(loss, output_shape, targets, tokens=tokens)
    if outputs is None:
        return found, probe_set
    if probe_set.classes not in (None, outputs):
        raise InputError(
            f"{subject.source} ({subject.arch}) has {outputs} outputs, but {probe_set.source} has "
            f"{probe_set.classes} classes",
            "probe it on data with the classes that it was trained on",
        )
    return found, probe_set.with_classes(outputs)


def _first_labelled(probe_set: ProbeSet) -> Batch:
    """The first examples that have a label, several: one alone may have none, or look odd."""
    import torch

    from condcli.capture.losses import IGNORED_LABEL

    def has_label(batch: Batch) -> bool:
        return any(bool((y != IGNORED_LABEL).any()) for y in leaves(batch[1]))

    with torch.random.fork_rng(devices=[]):
        batches = map(probe_set.read, probe_set.parts(SEVERAL))
        first = next(batches)
        return next(filter(has_label, chain([first], batches)), first)


def _classes(
    loss: str, output_shape: tuple[int, ...], targets: Tensors, *, tokens: bool
) -> int | None:
    """How many the network tells apart; None where its output alone does not say."""
    from condcli.capture.losses import class_axis

    if not output_shape:
        return None
    target_shape = tuple(next(leaves(targets)).shape)
    axis = class_axis((target_shape[0], *output_shape), target_shape, tokens)
    return output_shape[-1 if loss == "next-token" else max(axis, 1) - 1]


def _ignoring(label: int, probe_set: ProbeSet) -> ProbeSet:
    """The same examples, with torch's own sign for targets without a label."""
    from condcli.capture.losses import IGNORED_LABEL

    def read(part: slice) -> Batch:
        inputs, targets = probe_set.read(part)
        return inputs, mapped(lambda y: y.masked_fill(y == label, IGNORED_LABEL), targets)

    return probe_set if label == IGNORED_LABEL else replace(probe_set, read=read)

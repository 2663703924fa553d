"""A network, its data and its loss, put together and ready for any number of passes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from condcli.api import device_named
from condcli.batch import Batch, PlacedBatch, examples_in
from condcli.capture import Options, rehearse
from condcli.capture.calling import call
from condcli.capture.losses import Evaluation, Loss
from condcli.capture.mode import Capture
from condcli.capture.padding import real_tokens
from condcli.capture.ranks import ALONE
from condcli.capture.rehearsal import Rehearsal, network_errors, on_device
from condcli.capture.undisturbed import attributes_kept, undisturbed
from condcli.curvature.rows import RowCapture
from condcli.data import ProbeSet
from condcli.errors import InputError, UsageError
from condcli.inputs import Subject, first_batch, probe_set_of, subject_of, task
from condcli.models import Model


@dataclass(frozen=True)
class Setting:
    """What `exact` and `scale_law` measure: everything in float64."""

    subject: Subject
    probe_set: ProbeSet
    options: Options
    loss: Loss
    rehearsal: Rehearsal
    batch_size: int

    @property
    def module(self) -> nn.Module:
        """The network."""
        return self.subject.module

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The network ready for passes; on leaving it is what it was, bit for bit."""
        with undisturbed(self.module, self.options):
            yield

    def batches(self) -> Iterator[PlacedBatch]:
        """All batches, the same each time."""
        return self.probe_set.placed(self.batch_size)

    def capture(self) -> RowCapture:
        """A fresh one."""
        return RowCapture(
            self.module,
            self.options,
            trusted=self.rehearsal.example_first,
            shared=self.rehearsal.shared,
            orders=self.rehearsal.orders,
        )

    @contextmanager
    def passed(
        self, place: int, batch: Batch, capture: Capture | None = None
    ) -> Iterator[tuple[object, Evaluation]]:
        """The network's output on one batch and its summed loss, while their graph is there."""
        inputs, targets = batch
        seed = self.options.seed + place
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        with attributes_kept(self.module):
            x = on_device(inputs, self.options.device, self.options.dtype)
            real = real_tokens(x)
            with network_errors(x, self.probe_set.source):
                if capture is None:
                    output = call(self.module, x)
                else:
                    with capture.forward_pass(examples_in(targets), real, place=place):
                        output = call(self.module, x)
            yield output, self.loss.of(output, targets, self.probe_set.source)


def setting_of(
    model: nn.Module | Model | str | Path,
    data: ProbeSet | str | Path | Iterable[Any] | None = None,
    *,
    samples: int | None = 128,
    batch_size: int = 128,
    seed: int = 0,
    norm: str = "batch",
    loss: str = "auto",
    ignore_label: int = -100,
    device: str = "auto",
    layers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    root: str | Path = "data",
    split: str | None = None,
    normalize: str | None = None,
    transform: str | None = None,
    target: str | None = None,
    tokenizer: str | None = None,
    length: int = 128,
    download: bool = False,
) -> Setting:
    """The model, the data and the loss that joins them; options and errors as `condcli.probe`."""
    if batch_size < 1:
        raise UsageError(f"batch size {batch_size} does not exist", "give 1 or more")
    options = Options(
        conv="patches",
        norm=norm,
        per_example="none",
        dtype=torch.float64,
        device=device_named(ALONE.device(device), "float64"),
        seed=seed,
        layers=tuple(layers),
        exclude=tuple(exclude),
    )
    subject = subject_of(model)
    probe_set = probe_set_of(
        data,
        subject,
        root=Path(root),
        split=split,
        samples=samples,
        seed=seed,
        normalize=normalize,
        transform=transform,
        target=target,
        tokenizer=tokenizer,
        length=length,
        download=download,
    )
    if not probe_set.examples:
        raise InputError(f"{probe_set.source} holds no examples", "choose other data")
    first = first_batch(probe_set)
    rehearsal = rehearse(subject.module, first[0], options, source=probe_set.source)
    found, probe_set = task(
        loss,
        first,
        probe_set,
        rehearsal.output_shape,
        subject,
        ignore_label=ignore_label,
        device=options.device,
    )
    return Setting(subject, probe_set, options, found, rehearsal, batch_size)

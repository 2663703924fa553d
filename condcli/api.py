"""The Python API: a model and data become statistics. The commands are thin over it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condcli.batch import WHOLE, Share, examples_in
from condcli.errors import UsageError
from condcli.inputs import (
    Shared,
    Subject,
    first_batch,
    naming_file,
    probe_set_of,
    subject_of,
    task,
)
from condcli.provenance import provenance_of
from condcli.resume import fingerprint, require_same_data, saved_batch_size, savers
from condcli.stats import ProbeStats, Provenance

# Arguments of ``probe`` that a resumed run may have otherwise, or that count by what they come to.
NOT_ASKED = (
    *("model", "data", "root", "download", "device", "batch_size"),
    *("distributed", "command", "progress", "save", "save_every", "resume", "finished", "notice"),
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from condcli.capture import Measurement, Options
    from condcli.capture.ranks import Ranks
    from condcli.capture.rehearsal import Rehearsal
    from condcli.data import ProbeSet
    from condcli.models import Model

DTYPES = ("float32", "float64")


def probe(
    model: nn.Module | Model | str | Path,
    data: ProbeSet | Shared | str | Path | Iterable[Any] | None = None,
    *,
    root: str | Path = "data",
    split: str | None = None,
    samples: int | None = 1024,
    normalize: str | None = None,
    transform: str | None = None,
    target: str | None = None,
    tokenizer: str | None = None,
    length: int = 128,
    download: bool = False,
    loss: str = "auto",
    ignore_label: int = -100,
    fisher: str = "empirical",
    mc_samples: int = 1,
    conv: str = "channels",
    norm: str = "batch",
    per_example: str = "auto",
    dtype: str = "float32",
    device: str = "auto",
    batch_size: int | str = 128,
    autocast: str = "none",
    seed: int = 0,
    layers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    allow_nonfinite: bool = False,
    max_dim: int = 16_384,
    shard: str | None = None,
    distributed: bool = False,
    command: str = "condcli.probe",
    progress: Callable[[int, int], None] = lambda done, total: None,
    save: Path | None = None,
    save_every: float = 300.0,
    resume: bool = False,
    finished: ProbeStats | None = None,
    notice: Callable[[str], None] = warnings.warn,
) -> ProbeStats:
    """Second moments of the input and output-gradient of every linear map of ``model``.

    ``model`` is a module (left exactly as it was), what ``condcli.load`` returns, or the path of a
    checkpoint that names its architecture or matches a known one. ``data`` is a name or path as
    on the command line, a ``ProbeSet``, a pair of tensors, a ``Dataset``, or any iterable of
    ``(inputs, targets)`` batches; by default what the checkpoint says it was trained on.
    ``progress`` is called with the examples done and their total after each batch. With
    ``distributed`` the processes of torch.distributed's default group share the batches; the first
    gets the statistics, the others only where they come from. The other options are those of
    ``condcli probe``; docs/numbers.md defines every number.

    With ``save``, the state of the run is kept in that file, ``save_every`` so many seconds (0:
    after every batch), and when a signal ends it between two batches: by Interrupted, which is a
    KeyboardInterrupt. ``resume`` goes on from such a state, if there is one, to the same bits. The
    file stays when all is done: remove it when the statistics are safe. ``notice`` is told where
    no state can be saved. With ``finished``, what a file holds of an earlier run of the same model
    and options, nothing is measured: it comes back once the data are known to be the same.

    Raises a CondcliError: InputError when model and data do not fit each other, UsageError for an
    option that does not exist, CannotFinishError when memory is too short, UnsafeError when the
    checkpoint asks for more than data that condcli knows by name.
    """
    asked = {name: str(value) for name, value in locals().items() if name not in NOT_ASKED}
    import torch

    from condcli.capture import Options, measure, rehearse
    from condcli.capture.batch_size import halving, least_size
    from condcli.capture.fisher import require_distribution
    from condcli.capture.memory import needs, require_room
    from condcli.capture.planning import require_room_for_moments
    from condcli.capture.ranks import ALONE, present
    from condcli.capture.wide import sketched

    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} does not exist", f"choose {', '.join(DTYPES)}")
    ranks = present() if distributed else ALONE
    _require_for_one(ranks, save=save, download=download)
    options = Options(
        fisher=fisher,
        mc_samples=mc_samples,
        conv=conv,
        norm=norm,
        per_example=per_example,
        dtype=getattr(torch, dtype),
        device=device_named(ranks.device(device), dtype),
        seed=seed,
        layers=tuple(layers),
        exclude=tuple(exclude),
        autocast=autocast,
        allow_nonfinite=allow_nonfinite,
        max_dim=max_dim,
        shard=WHOLE if shard is None else Share.parse(shard),
    )
    subject = subject_of(model)
    require_room_for_moments(subject.module, options, processes=ranks.here)
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
    first = first_batch(probe_set)
    rehearsal = rehearse(subject.module, first[0], options, source=probe_set.source)
    examples, as_they_come = probe_set.examples, examples_in(first[1])
    size = _batch_size(batch_size)
    if save is not None and resume and size is None:
        size = saved_batch_size(save)
    least = least_size(subject.module, norm=norm, examples=examples)
    if size is None:
        size = _size_that_fits(rehearsal, options, examples=examples, least=least, ranks=ranks)
    largest = as_they_come if as_they_come > 1 else min(size, examples)
    room = needs(rehearsal, options, batch_size=largest, examples=examples)
    require_room(room, options.device, processes=ranks.here)
    found, probe_set = task(
        loss,
        first,
        probe_set,
        rehearsal.output_shape,
        subject,
        ignore_label=ignore_label,
        device=options.device,
    )
    if fisher != "empirical":
        require_distribution(found, "pass --fisher empirical")
    if finished is not None:
        require_same_data(
            finished,
            probe_set,
            options,
            loss_name=found.name,
            batch_size=size,
            digests=data.digests if isinstance(data, Shared) else {},
        )
        return finished
    share = options.shard.part(ranks.number, ranks.of)

    saver_of = None
    if save is not None:
        saver_of = savers(
            save,
            every=save_every,
            resume=resume,
            same=fingerprint(asked, subject, probe_set, options, loss_name=found.name),
            batch_size=size,
            command=command,
            notice=notice,
        )

    def measured(size: int) -> ProbeStats:
        own = sum(probe_set.sizes(size, share))
        saver = saver_of(size, own) if saver_of else None
        measurement = measure(
            subject.module,
            probe_set.placed(size, share),
            options,
            loss=found,
            rehearsal=rehearsal,
            source=probe_set.source,
            progress=lambda examples: progress(examples, own),
            sketched=sketched(rehearsal.wide, examples, options),
            ranks=ranks,
            saver=saver,
        )
        return ProbeStats(
            provenance=_provenance(
                subject,
                probe_set,
                measurement,
                options,
                loss_name=found.name,
                ignore_label=ignore_label,
                batch_size=max(probe_set.sizes(size)),
                command=saver.command if saver else command,
            ),
            layers=measurement.layers,
            activations=measurement.activations,
            skipped=measurement.skipped,
        )

    with naming_file(subject):
        # Other processes have begun with this size: only one alone can take another.
        if batch_size != "auto" or ranks.of > 1 or as_they_come > 1:
            return measured(size)
        return halving(measured, size, least=least)


def _require_for_one(ranks: Ranks, *, save: Path | None, download: bool) -> None:
    """Raise UsageError for what several processes cannot do together."""
    if ranks.of == 1:
        return
    if save is not None:
        raise UsageError(
            f"the state of {ranks.of} processes cannot be saved nor resumed",
            "leave out save and resume",
        )
    if download:
        raise UsageError(
            f"{ranks.of} processes would download to the same place",
            "download in one process first, then leave out --download",
        )


def _batch_size(value: int | str) -> int | None:
    """Examples a batch; None: as many as fit."""
    if value == "auto":
        return None
    if isinstance(value, str) or value < 1:
        raise UsageError(f"batch size {value!r} does not exist", "give 1 or more, or auto")
    return value


def _size_that_fits(
    rehearsal: Rehearsal, options: Options, *, examples: int, least: int, ranks: Ranks
) -> int:
    """Examples a batch: as many as memory allows all processes."""
    from condcli.capture.batch_size import fitting

    if options.shard != WHOLE:
        raise UsageError(
            "--batch-size auto may find another size for each shard", "pass all the same number"
        )
    found = fitting(rehearsal, options, examples=examples, least=least, processes=ranks.here)
    sizes: list[int] = ranks.gathered(found)
    return min(sizes)


def device_named(name: str, dtype: str) -> torch.device:
    """The device that is called so; UsageError where there is none, or it has no such precision."""
    import torch

    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"device {name!r} does not exist", "choose auto, cpu, cuda, cuda:N or mps")
    device = torch.device(name)
    here = {
        "cpu": True,
        "cuda": (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here[device.type]:
        raise UsageError(f"there is no {name} device here", "pass --device auto or cpu")
    if device.type == "mps" and dtype == "float64":
        raise UsageError("mps has no float64", "pass --dtype float32, or --device cpu")
    return device


def _provenance(
    subject: Subject,
    probe_set: ProbeSet,
    measurement: Measurement,
    options: Options,
    *,
    loss_name: str,
    ignore_label: int,
    batch_size: int,
    command: str,
) -> Provenance:
    is_shard = options.shard != WHOLE
    return provenance_of(
        measurement.totals,
        options,
        ignore_label=ignore_label,
        model_source=subject.source,
        model_sha256=subject.sha256(),
        arch=subject.arch,
        parameters=sum(parameter.numel() for parameter in subject.module.parameters()),
        data_source=f"{probe_set.source} {probe_set.split}".strip(),
        normalize=probe_set.normalize,
        loss_name=loss_name,
        peak_memory_bytes=measurement.peak_memory_bytes,
        batch_size=batch_size,
        step=subject.checkpoint.step if subject.checkpoint else None,
        command=command,
        norm=options.norm,
        autocast=options.autocast,
        seed=options.seed,
        shard=str(options.shard) if is_shard else "",
        whole_examples=probe_set.examples if is_shard else None,
        label_counts=measurement.totals.label_counts() if is_shard else None,
    )

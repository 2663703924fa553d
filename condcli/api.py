"""The Python API: a model and data become statistics. The commands are thin over it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condcli.errors import UsageError
from condcli.stats import ProbeStats, Provenance

if TYPE_CHECKING:
    import torch
    from torch import nn

    from condcli.capture import Measurement
    from condcli.data import ProbeSet
    from condcli.models import Model

CHOICES = {
    "conv": ("channels", "patches"),
    "norm": ("batch", "running"),
    "per_example": ("auto", "all", "none"),
    "dtype": ("float32", "float64"),
    "device": ("auto", "cpu", "cuda", "mps"),
}
DEFAULT_BATCH_SIZE = 128


def probe(
    model: nn.Module | Model | str | Path,
    data: ProbeSet | str | Iterable[Any],
    *,
    samples: int | None = 1024,
    loss: str = "auto",
    conv: str = "channels",
    norm: str = "batch",
    per_example: str = "auto",
    dtype: str = "float32",
    device: str = "auto",
    batch_size: int = DEFAULT_BATCH_SIZE,
    seed: int = 0,
    layers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    command: str = "condcli.probe",
    progress: Callable[[int], None] = lambda examples: None,
) -> ProbeStats:
    """Second moments of the input and output-gradient of every linear map of ``model``.

    ``model`` is a module (left exactly as it was), a loaded ``Model``, or the path of a
    checkpoint that names its architecture or matches a known one. ``data`` is a name or path as
    on the command line, a ``ProbeSet``, a pair of tensors, a ``Dataset``, or any iterable of
    ``(inputs, targets)`` batches. The other options are those of ``condcli probe``;
    docs/numbers.md defines every number.

    Raises a CondcliError: InputError when model and data do not fit each other, UsageError for an
    option that does not exist, CannotFinishError when memory is too short.
    """
    import torch

    from condcli.capture import measure, rehearse
    from condcli.capture.losses import choose
    from condcli.capture.memory import require_room

    _check_options(
        conv=conv, norm=norm, per_example=per_example, dtype=dtype, device=device.split(":")[0]
    )
    subject = _subject(model)
    probe_set = _probe_set(data, samples=samples, seed=seed)
    target, precision = _device(device), getattr(torch, dtype)
    if target.type == "mps" and dtype == "float64":
        raise UsageError("mps has no float64", "pass --dtype float32, or --device cpu")
    x, y = _first_batch(probe_set)
    rehearsal = rehearse(subject.module, x, dtype=precision, device=target, source=probe_set.source)
    largest_batch = len(x) if len(x) > 1 else min(batch_size, probe_set.examples)
    require_room(rehearsal.saved_bytes, largest_batch, target)
    loss = "cross-entropy" if probe_set.random_labels else choose(loss, y)
    if rehearsal.output_shape and loss == "cross-entropy":
        probe_set = probe_set.with_classes(rehearsal.output_shape[0])
    measurement = measure(
        subject.module,
        probe_set.batches(batch_size),
        loss=loss,
        view=conv,
        norm=norm,
        per_example=per_example,
        example_first=rehearsal.example_first,
        dtype=precision,
        device=target,
        seed=seed,
        layers=layers,
        exclude=exclude,
        source=probe_set.source,
        progress=progress,
    )
    return ProbeStats(
        provenance=_provenance(
            subject,
            probe_set,
            measurement,
            command=command,
            conv=conv,
            norm=norm,
            dtype=dtype,
            device=str(target),
            seed=seed,
            batch_size=batch_size,
        ),
        layers=measurement.layers,
        activations=measurement.activations,
        skipped=measurement.skipped,
    )


def _check_options(**given: str) -> None:
    for name, value in given.items():
        if value not in CHOICES[name]:
            raise UsageError(
                f"{name.replace('_', '-')} {value!r} does not exist",
                f"choose {', '.join(CHOICES[name])}",
            )


@dataclass(frozen=True)
class _Subject:
    """The module under test, and where it comes from."""

    module: nn.Module
    arch: str
    source: str
    sha256: str
    step: int | None = None


def _subject(model: nn.Module | Model | str | Path) -> _Subject:
    from torch import nn

    if isinstance(model, nn.Module):
        return _Subject(model, type(model).__name__, "memory", _digest(model))
    from condcli.models import load

    loaded = load(Path(model)) if isinstance(model, str | Path) else model
    checkpoint = loaded.checkpoint
    return _Subject(
        loaded.module, loaded.arch, str(checkpoint.path), checkpoint.sha256, checkpoint.step
    )


def _digest(model: nn.Module) -> str:
    """sha256 over the names and bytes of the state, in order."""
    from condcli.capture.totals import tensor_bytes

    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def _probe_set(data: ProbeSet | str | Iterable[Any], *, samples: int | None, seed: int) -> ProbeSet:
    from condcli.data import ProbeSet, as_probe_set, open_data

    if isinstance(data, ProbeSet):
        return data
    if isinstance(data, str):
        return open_data(data, samples=samples, seed=seed)
    return as_probe_set(data, source="memory", samples=samples, seed=seed)


def _first_batch(probe_set: ProbeSet) -> tuple[torch.Tensor, torch.Tensor]:
    """One example, or the first batch where batches are taken as they come.

    Labels are not yet drawn nor checked; a DataLoader's use of global random numbers is undone.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        return next(iter(probe_set.read(1)))


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available[name.split(":")[0]]:
        raise UsageError(f"there is no {name} device here", "pass --device auto or cpu")
    return torch.device(name)


def _provenance(
    subject: _Subject,
    probe_set: ProbeSet,
    measurement: Measurement,
    **options: Any,
) -> Provenance:
    import torch

    import condcli

    totals = measurement.totals
    return Provenance(
        condcli_version=condcli.__version__,
        torch_version=torch.__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        model_source=subject.source,
        model_sha256=subject.sha256,
        arch=subject.arch,
        data_source=f"{probe_set.source} {probe_set.split}".strip(),
        data_sha256=totals.data_sha256(),
        normalize=probe_set.normalize,
        examples=totals.examples,
        loss_terms=totals.terms,
        loss=totals.mean_loss(),
        loss_name=totals.loss_name,
        accuracy=totals.accuracy(),
        chance=totals.chance(),
        fisher="empirical",
        pass_seconds=totals.seconds,
        peak_memory_bytes=measurement.peak_memory_bytes,
        step=subject.step,
        **options,
    )

"""``condcli probe MODEL --data DATA``: measure a checkpoint once, into a statistics file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condcli.commands.probe_options import (
    OUTPUT,
    SAVE_EVERY,
    AllowNonfinite,
    Arch,
    ArchArg,
    Autocast,
    BatchSize,
    Checkpoints,
    Conv,
    Data,
    Device,
    Download,
    Dtype,
    Exclude,
    Fisher,
    Force,
    IgnoreLabel,
    Layers,
    Length,
    Loss,
    MaxDim,
    Norm,
    Normalize,
    Output,
    PerExample,
    ProbeMcSamples,
    Resume,
    Root,
    Samples,
    SaveEvery,
    Seed,
    Shard,
    Split,
    Target,
    Tokenizer,
    Transform,
    Trust,
    Weights,
    number_or,
)

if TYPE_CHECKING:
    from condcli.capture.ranks import Ranks
    from condcli.stats import ProbeStats


def probe(
    models: Checkpoints,
    data: Data = None,
    output: Output = None,
    force: Force = False,
    arch: Arch = None,
    arch_arg: ArchArg = None,
    weights: Weights = None,
    trust: Trust = False,
    root: Root = Path("data"),
    split: Split = None,
    samples: Samples = "1024",
    batch_size: BatchSize = "128",
    seed: Seed = 0,
    normalize: Normalize = None,
    transform: Transform = None,
    target: Target = None,
    tokenizer: Tokenizer = None,
    length: Length = 128,
    download: Download = False,
    fisher: Fisher = "empirical",
    mc_samples: ProbeMcSamples = 1,
    conv: Conv = "channels",
    norm: Norm = "batch",
    loss: Loss = "auto",
    ignore_label: IgnoreLabel = -100,
    per_example: PerExample = "auto",
    dtype: Dtype = "float32",
    autocast: Autocast = "none",
    device: Device = "auto",
    layers: Layers = None,
    exclude: Exclude = None,
    allow_nonfinite: AllowNonfinite = False,
    max_dim: MaxDim = 16_384,
    shard: Shard = None,
    save_every: SaveEvery = None,
    resume: Resume = False,
) -> None:
    """Measure a checkpoint in one forward and backward pass; store what every layer saw.

    The other commands answer from the file that it writes, without model or data. Several
    checkpoints are measured one after the other; one that cannot be does not stop the others.
    """
    from condcli.machine import require_to_start

    require_to_start()
    from condcli import api, series, statsfile
    from condcli.capture.ranks import ALONE, joined
    from condcli.models import load, parse_arch_args
    from condcli.names import paths_in
    from condcli.output.progress import examples_progress
    from condcli.output.summary import remarks, summary_panel
    from condcli.output.terminal import emit, is_quiet, notice
    from condcli.resume import finished_before

    inputs = paths_in(data, root, arch, loss, transform, tokenizer)

    def measured(
        model: Path, file: Path, data: Any, *, ranks: Ranks = ALONE, title: str = "probing"
    ) -> tuple[ProbeStats, list[str]]:
        first = ranks.number == 0
        loaded = load(
            model,
            arch=arch,
            arch_args=parse_arch_args(arch_arg or []),
            weights=weights,
            trust=trust,
        )
        if first:  # shards beside an index may have been read, too
            statsfile.check_output(file, force=force or resume, inputs=loaded.checkpoint.files)
        state = _state(file, ranks, force=force, resume=resume)
        passed_over = resume and not force and file.exists()
        finished = (
            finished_before(file, loaded.checkpoint.sha256, _command(), models)
            if passed_over
            else None
        )
        with (
            examples_progress(title, quiet=is_quiet() or not first) as progress,
            _told_how_to_go_on(),
        ):
            stats = api.probe(
                loaded,
                data,
                root=root,
                split=split,
                samples=number_or("--samples", samples, word="all"),
                normalize=normalize,
                transform=transform,
                target=target,
                tokenizer=tokenizer,
                length=length,
                download=download,
                loss=loss,
                ignore_label=ignore_label,
                fisher=fisher,
                mc_samples=mc_samples,
                conv=conv,
                norm=norm,
                per_example=per_example,
                dtype=dtype,
                device=device,
                batch_size=number_or("--batch-size", batch_size, word="auto") or "auto",
                autocast=autocast,
                seed=seed,
                layers=layers or (),
                exclude=exclude or (),
                allow_nonfinite=allow_nonfinite,
                max_dim=max_dim,
                shard=shard,
                distributed=ranks.of > 1,
                command=_command(),
                progress=progress,
                save=state,
                save_every=SAVE_EVERY if save_every is None else save_every,
                resume=resume and finished is None,
                finished=finished,
                notice=notice,
            )
        if finished is not None:
            _remove(state)
            return finished, []
        if first:
            with _done_with(state):
                statsfile.write(stats, file, force=force)
        return stats, remarks(stats, loaded.notes, found_size=batch_size == "auto")

    if series.is_wanted(models, output):
        series.probe_each(models, output, measured, data=data, force=force or resume, inputs=inputs)
        return
    file = Path(output or OUTPUT)
    with joined(device) as ranks:
        _look_for_state(file, ranks, resume=resume, save_every=save_every)
        if ranks.number == 0:
            statsfile.check_output(file, force=force or resume, inputs=[*models, *inputs])
        stats, told = measured(models[0], file, data, ranks=ranks)
    if ranks.number > 0:
        return
    if not is_quiet():
        emit(summary_panel(stats, file, file_bytes=file.stat().st_size))
    for remark in told:
        notice(remark)


def _look_for_state(file: Path, ranks: Ranks, *, resume: bool, save_every: float | None) -> None:
    """Say if there is none; UsageError where several processes, which have none, share the work."""
    from condcli.errors import UsageError
    from condcli.output.terminal import notice
    from condcli.resume import state_path

    if ranks.of > 1 and (resume or save_every is not None):
        raise UsageError(
            f"the {ranks.of} processes of torchrun keep no state to go on from",
            "leave out --resume and --save-every, or share the work by --shard",
        )
    if resume and not state_path(file).exists() and not file.exists():
        notice("note: there is no state to go on from; the probe begins anew")


def _state(file: Path, ranks: Ranks, *, force: bool, resume: bool) -> Path | None:
    """Where the state is kept of the probe that writes to ``file``; None: it has none."""
    from condcli.resume import state_path, without_old_state

    if ranks.of > 1:
        return None
    state = state_path(file)
    if not resume:
        without_old_state(state, force=force)
    return state


def _command() -> str:
    """The command line, the same for a probe that is resumed as for one that is not."""
    return shlex.join(["condcli", *(word for word in sys.argv[1:] if word != "--resume")])


@contextmanager
def _told_how_to_go_on() -> Iterator[None]:
    """Say with which command an interrupted probe goes on."""
    from condcli.errors import Interrupted

    try:
        yield
    except Interrupted as stop:
        if not stop.saved:
            raise
        again = sys.argv[1:]
        if "--resume" not in again:
            again.insert(again.index("probe") + 1 if "probe" in again else 0, "--resume")
        line = f"{stop}; go on with: {shlex.join(['condcli', *again])}"
        raise Interrupted(stop.number, line, saved=True) from stop


@contextmanager
def _done_with(state: Path | None) -> Iterator[None]:
    """Remove the state of a probe once its output is in place; say so where it still counts."""
    from condcli.errors import CannotFinishError

    try:
        yield
    except CannotFinishError as error:
        if state is None or not state.exists():
            raise
        kept = f"{error.remedy}, then go on with --resume: {state} is kept"
        raise CannotFinishError(error.message, kept) from error
    _remove(state)


def _remove(state: Path | None) -> None:
    if state is not None:
        with suppress(OSError):
            state.unlink()

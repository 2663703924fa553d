"""Going on with a probe that was interrupted: what must be the same, and where the state is."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from condcli import statsfile
from condcli.errors import CannotFinishError
from condcli.inputs import Subject

if TYPE_CHECKING:
    from condcli.capture import Options
    from condcli.capture.saving import Fingerprint, Saver
    from condcli.data import ProbeSet
    from condcli.stats import ProbeStats

BATCH_SIZE = "batch size"


def state_path(output: Path) -> Path:
    """Where the state of the probe that writes to ``output`` is kept: beside it."""
    return output.with_name(f"{output.name}.state")


def without_old_state(path: Path, *, force: bool) -> None:
    """Remove an older state at ``path`` if told to by ``force``.

    Raises CannotFinishError for one without it, and for any other file there.
    """
    from condcli.capture.state_file import is_state

    if not os.path.lexists(path):
        return
    if not is_state(path):
        raise CannotFinishError(
            f"{path}: is no state of a probe", "move it away, or name another output"
        )
    if not force:
        raise CannotFinishError(
            f"{path}: holds an interrupted probe",
            "pass --resume to go on with it, or --force to begin anew",
        )
    path.unlink()


def finished_before(
    output: Path, model_sha256: str, command: str, models: Sequence[Path]
) -> ProbeStats:
    """What stands at ``output`` already, of this checkpoint and by the same command.

    Which ``models`` the command is for does not matter: there may be more of them than before.
    Raises CannotFinishError where it is of another one, InputError where it is none.
    """
    import torch

    import condcli

    stats = statsfile.read(output)
    found, apart = stats.provenance, {*map(str, models)}
    pairs = {
        "checkpoint": (found.model_sha256, model_sha256),
        "command": tuple(_words(each, apart) for each in (found.command, command)),
        "version of condcli": (found.condcli_version, condcli.__version__),
        "version of torch": (found.torch_version, torch.__version__),
    }
    for name, (before, now) in pairs.items():
        if before != now:
            raise _other(output, f"another {name}")
    return stats


def require_same_data(
    finished: ProbeStats,
    probe_set: ProbeSet,
    options: Options,
    *,
    loss_name: str,
    batch_size: int,
    digests: MutableMapping[tuple[object, ...], tuple[int, str]],
) -> None:
    """Raise CannotFinishError where a file that was ``finished_before`` is of other numbers.

    All data are read for it, unless ``digests``, which keeps what is found, has theirs.
    """
    from condcli.capture.measure import data_seen
    from condcli.capture.undisturbed import random_state_kept

    how = (probe_set.source, probe_set.normalize, probe_set.classes, loss_name)
    if how not in digests:
        with random_state_kept(options.seed, options.device):
            seen = data_seen(probe_set.placed(batch_size, options.shard), options.seed)
        digests[how] = seen.examples, seen.data_sha256()
    known = finished.provenance
    if digests[how] != (known.examples, known.data_sha256):
        assert isinstance(finished.layers, statsfile.Records)
        raise _other(finished.layers.path, "other data")


def _other(output: Path, what: str) -> CannotFinishError:
    return CannotFinishError(
        f"{output}: already exists, of {what}", "pass --force to replace it, or name another file"
    )


def _words(command: str, apart: Collection[str]) -> list[str]:
    """Those of a command but for the ones ``apart``, and for how often it saves its state."""
    kept, words = [], iter(shlex.split(command))
    for word in words:
        if word == "--save-every":
            next(words, None)
        elif word not in apart and not word.startswith("--save-every="):
            kept.append(word)
    return kept


def fingerprint(
    asked: Mapping[str, str],
    subject: Subject,
    probe_set: ProbeSet,
    options: Options,
    *,
    loss_name: str,
) -> Fingerprint:
    """What a resumed run must have in common with the interrupted one, by name.

    ``asked`` are the options as they were given. The digest of a checkpoint is asked for late:
    it is computed beside the probe.
    """
    from condcli.capture.fingerprint import code, surroundings

    known = {
        **asked,
        "architecture": subject.arch,
        "data": f"{probe_set.source} {probe_set.split}".strip(),
        "examples": f"{probe_set.examples} of {probe_set.total}",
        "choice of examples": hashlib.sha256(probe_set.indices.tobytes()).hexdigest(),
        "normalization": probe_set.normalize,
        "loss": loss_name,
        "device": str(options.device),
        **surroundings(options.device),
        **code([subject.arch, loss_name, probe_set.source, asked["transform"]]),
    }
    if subject.checkpoint is None:
        known["model sha256"] = subject.sha256()  # before the pass, which changes its buffers
        return lambda: known
    return lambda: {"model sha256": subject.sha256(), **known}


def saved_batch_size(path: Path) -> int | None:
    """The batch size of the state at ``path``; None where there is none."""
    from condcli.capture.state_file import not_ours, read_notes

    if not os.path.lexists(path):
        return None
    try:
        return int(read_notes(path)["fingerprint"][BATCH_SIZE])
    except (KeyError, TypeError, ValueError):
        raise not_ours(path) from None


def savers(
    path: Path,
    *,
    every: float,
    resume: bool,
    same: Fingerprint,
    batch_size: int,
    command: str,
    notice: Callable[[str], None],
) -> Callable[[int, int], Saver]:
    """A function of the batch size and the number of examples that gives what saves such a run.

    The first one begins where the state at ``path`` is, with ``resume``. Raises InputError where
    that is of another run, CannotFinishError where there is one without ``resume``.
    """
    from condcli.capture.saving import Saver, read_state

    states = []
    if not resume:
        without_old_state(path, force=False)
    elif os.path.lexists(path):
        states = [read_state(path)]
        states[0].require_same({**same(), BATCH_SIZE: str(batch_size)})
        command = states[0].command

    def saver(size: int, examples: int) -> Saver:
        return Saver(
            path,
            every=every,
            fingerprint=lambda: {**same(), BATCH_SIZE: str(size)},
            command=command,
            examples=examples,
            state=states.pop() if states else None,
            notice=notice,
        )

    return saver

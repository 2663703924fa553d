"""A training recorded as it goes: every n steps a statistics file, from its own two passes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from condcli.analysis.defaults import PERCENT
from condcli.analysis.metrics import values
from condcli.analysis.steps import Numbered
from condcli.analysis.trajectory import point_of
from condcli.capture.ranks import present
from condcli.capture.undisturbed import product_precision
from condcli.errors import CannotFinishError, UsageError
from condcli.output.export.tensorboard import tag
from condcli.recording import Job, Recording, Settings, network_of
from condcli.statsfile import check_output, write

FILE = "step_{:08d}.h5"
_FILES = re.compile(r"step_(\d{8,})\.h5")
POSTPONED = 16  # steps, while a loss scale that is too large comes down


class Step:
    """One batch of a step that is not recorded."""

    def __enter__(self) -> Step:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The batch has gone forward and backward."""

    def loss(self, loss: Tensor, *, terms: int, name: str = "own") -> Tensor:
        """Say what the mean loss is, over so many terms; the same tensor.

        Needed where no loss of torch.nn.functional is called, or several are. ``terms`` are what
        the mean is over: examples, or labelled positions; ``name`` is what the files call it.
        """
        return loss


OFF = Step()


class _Batch(Step):
    """One batch of a step that is recorded."""

    def __init__(
        self, recorder: Recorder, record: Recording, examples: int | None, *, is_last: bool
    ) -> None:
        self._recorder, self._record, self._is_last = recorder, record, is_last
        self._running: AbstractContextManager[None] = record.batch(examples)

    def __enter__(self) -> Step:
        self._running.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.__exit__(kind, error, traceback)
        if kind is not None:
            self._recorder.forget()
        elif self._is_last:
            self._recorder.finish(self._record)

    def loss(self, loss: Tensor, *, terms: int, name: str = "own") -> Tensor:
        self._record.capture.loss.tell(loss, terms, name)
        return loss


class Recorder:
    """Writes ``FOLDER/step_00000000.h5`` and so on while a network trains.

        recorder = condcli.Recorder(model, "run/", every=100)
        for x, y in loader:
            with recorder.step():
                loss = F.cross_entropy(model(x), y)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        recorder.close()

    The files are those that ``condcli.probe`` would write for the same weights and batch, see
    docs/recorder.md. The training is left as it is, bit for bit. In between, a step costs nothing.

    ``every`` is a number of steps, or a function that says of a step's number whether to record
    it; ``accumulate`` the batches that make one step, ``first`` the number of the first step.
    ``conv``, ``per_example``, ``layers``, ``exclude`` and ``max_dim`` are those of `condcli.probe`;
    ``data`` says in the files what was trained on. ``writer``, a SummaryWriter, gets scalars of
    each layer.
    With ``background``, files are finished and written beside the training, one at a time.

    What is wrong with the first record is raised, as a CondcliError; after that the training goes
    on whatever happens, and a RuntimeWarning tells of each file that could not be made. Raises
    UsageError for a network that cannot be recorded; compiled ones are refused unless ``eager``
    lets their recorded steps run uncompiled. Raises CannotFinishError where the folder has the
    files of these steps already, unless ``force``.
    """

    def __init__(
        self,
        model: nn.Module,
        folder: str | Path,
        *,
        every: int | Callable[[int], bool] = 100,
        accumulate: int = 1,
        first: int = 0,
        conv: str = "channels",
        per_example: str = "auto",
        layers: Sequence[str] = (),
        exclude: Sequence[str] = (),
        max_dim: int = 16_384,
        data: str = "training",
        force: bool = False,
        eager: bool = False,
        background: bool = True,
        writer: Any = None,
    ) -> None:
        if accumulate < 1 or first < 0 or (isinstance(every, int) and every < 1):
            raise UsageError(
                "every and accumulate count from 1, and first from 0", "give such numbers"
            )
        self.folder = Path(folder)
        self.settings = Settings(
            model=network_of(model, eager=eager),
            eager=eager,
            conv=conv,
            per_example=per_example,
            layers=tuple(layers),
            exclude=tuple(exclude),
            max_dim=max_dim,
            data=data,
        )
        self.settings.options()  # raises for what does not exist
        self.number = first  # of the step that comes
        self._every = every
        self._accumulate, self._batches = accumulate, 0
        self._force, self._writer = force, writer
        self._postponed = 0  # steps: the one that comes is recorded in their place
        self._done = 0  # records
        self._record: Recording | None = None
        self._pool = ThreadPoolExecutor(1, "condcli") if background else None
        self._pending: tuple[int, Future[None]] | None = None  # a step's number, and its file
        if present().number == 0:
            _require_folder(self.folder, first, force=force)

    def step(self, *, examples: int | None = None) -> Step:
        """What one batch's forward and backward pass are to run within, the optimizer outside.

        ``examples`` says how many it has, where the first tensor that the network is called with
        does not.
        """
        if self._batches == 0:
            self._record = self.begin(self.number)
        record = self._record
        self._batches += 1
        if self._batches == self._accumulate:
            self._batches, self.number = 0, self.number + 1
        if record is None:
            return OFF
        return _Batch(self, record, examples, is_last=self._batches == 0)

    def begin(self, number: int) -> Recording | None:
        """A record of the step with this number; None where it is not to be recorded."""
        every = self._every
        wanted = every(number) if callable(every) else number % every == 0
        if not (wanted or self._postponed):
            return None
        try:
            return Recording(self.settings, number)
        except Exception as error:
            self._fail(number, error)
            return None

    def finish(self, record: Recording) -> None:
        """Make a file of a record, all batches of which have gone forward and backward."""
        self.forget()
        # The first is done at once, for it may fail; so are all where products are in TF32: to
        # forbid that in another thread would change the training's own.
        exact = torch.get_float32_matmul_precision() == "highest"
        beside = self._pool if self._done and exact else None
        try:
            job = record.ended(copies=beside is not None, flagged=self._postponed >= POSTPONED)
            self._postponed = self._postponed + 1 if record.overflowed else 0
            if job is None:  # overflowed, or another process writes
                self._done += not record.overflowed
                return
            write_file = partial(self._write, record.number, job)
            if beside is None:
                with product_precision("none"):
                    write_file()
            else:
                self.wait()
                self._pending = record.number, beside.submit(write_file)
        except Exception as error:
            self._fail(record.number, error)

    def forget(self) -> None:
        """Begin the next step anew."""
        self._record, self._batches = None, 0

    def wait(self) -> None:
        """Return when all files are written, or it is told which could not be."""
        if self._pending is None:
            return
        (number, written), self._pending = self._pending, None
        try:
            written.result()
        except Exception as error:
            self._fail(number, error)

    def close(self) -> None:
        """Write what is left to write; nothing is recorded after that."""
        self.wait()
        if self._pool is not None:
            self._pool.shutdown()
        self._every = lambda number: False

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _write(self, number: int, job: Job) -> None:
        path = self.folder / FILE.format(number)
        check_output(path, force=self._force)
        write(job(), path, force=self._force)
        self._done += 1
        if self._writer is not None:
            self._write_scalars(path, number)

    def _write_scalars(self, path: Path, number: int) -> None:
        """As `condcli export --to tensorboard` does."""
        point = point_of(Numbered(path=path, step=number, step_from="file"), percent=PERCENT)
        for each in values([point]):
            if each.value is not None and isfinite(each.value):
                self._writer.add_scalar(tag(each.metric, each.name), each.value, number)

    def _fail(self, number: int, error: Exception) -> None:
        """Raise it if nothing has been recorded yet; after that it only warns."""
        if not self._done:
            raise error
        warnings.warn(f"step {number} was not recorded: {error}", RuntimeWarning, stacklevel=2)


def _require_folder(folder: Path, first: int, *, force: bool) -> None:
    """Make it if need be; raise CannotFinishError where files of these steps are in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotFinishError(
            f"{folder}: the folder for the statistics cannot be made ({error.strerror})",
            "name another one",
        ) from error
    found = [_FILES.fullmatch(path.name) for path in folder.iterdir()]
    later = sorted(match.group() for match in found if match and int(match.group(1)) >= first)
    if later and not force:
        raise CannotFinishError(
            f"{folder}: has {later[0]} of another run already",
            "name another folder, pass first=STEP to go on from a step, or force=True",
        )

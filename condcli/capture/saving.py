"""Keeping a long run's state beside its output, and going on from there.

Between two batches, when it is time or a signal has come, everything is written to a state file
(see state_file.py), whole or not at all. A resumed run reads the batches that are done once more,
without computing, to see that they are still the same data.
"""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

from torch import Tensor, nn

from condcli.capture import state_file
from condcli.capture.hidden import hidden_state
from condcli.capture.mode import Capture
from condcli.capture.packing import Unsavable
from condcli.capture.snapshot import marks, put_back, taken
from condcli.capture.state_file import ANEW, DAMAGES, not_ours
from condcli.capture.totals import Totals
from condcli.errors import CondcliError, InputError, Interrupted, is_out_of_memory
from condcli.signals import ENDING
from condcli.statsfile import replacing

LARGEST_SHARE = 0.05  # of the time that saving may take
Fingerprint = Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class State:
    """What a state file holds: where a run had come to, and what it was a run of."""

    path: Path
    fingerprint: Mapping[str, str]
    command: str
    done: int  # batches
    word: Any
    tensors: list[Tensor] = field(repr=False)

    def require_same(self, fingerprint: Mapping[str, str]) -> None:
        """Raise InputError naming what is not as it was when the state was saved."""
        for name in {**self.fingerprint, **fingerprint}:
            before, now = (each.get(name, "none") for each in (self.fingerprint, fingerprint))
            if before != now:
                raise InputError(
                    f"{self.path}: was saved with {name} {before}, and now it is {now}",
                    f"make it the same again, or {ANEW}",
                )


def read_state(path: Path) -> State:
    """The state at ``path``; InputError where it is damaged or none."""
    notes, tensors = state_file.read(path)
    try:
        return State(path, tensors=tensors, **notes)
    except TypeError:
        raise not_ours(path) from None


class Saver:
    """Saves a run's state when it is time, and when a signal asks the run to end."""

    def __init__(
        self,
        path: Path,
        *,
        every: float,
        fingerprint: Fingerprint,
        command: str,
        examples: int,
        state: State | None = None,
        notice: Callable[[str], None] = warnings.warn,
    ) -> None:
        """Save to ``path`` ``every`` so many seconds, of a run over so many ``examples``.

        With 0 seconds, after every batch. ``notice`` is told, once, that saving does not work.
        """
        self.path = path
        self.done = 0  # batches
        self._every = every
        self.command = command  # that began the run
        self._fingerprint = fingerprint
        self._examples = examples
        self._state = state
        self._notice = notice
        self._signal: int | None = None
        self._trouble = ""  # why the latest state could not be saved
        self._gives_up = False
        self._due = 0.0

    def begin(self, capture: Capture, model: nn.Module, totals: Totals) -> Totals:
        """The totals to go on from: those of the state, put back into all, or the ones given."""
        self._marks, self._hidden = marks(model), hidden_state(model)
        state, self._state = self._state, None
        if state is not None:
            try:
                totals = put_back(state.word, state.tensors, capture, model)
            except (*DAMAGES, RuntimeError) as error:
                if is_out_of_memory(error):
                    raise
                raise not_ours(self.path) from error
            self.done = state.done
        self._due = monotonic() + self._every
        return totals

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, a first signal lets the batch end; a second one does what it does elsewhere."""
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in ENDING}
            # nohup, for one, has SIGHUP ignored
            self._before = {n: h for n, h in handlers.items() if h not in (signal.SIG_IGN, None)}
        try:
            for number in self._before:
                signal.signal(number, self._note)
            yield
        finally:
            for number, handler in self._before.items():
                if signal.getsignal(number) == self._note:
                    signal.signal(number, handler)
        if self._signal is not None:  # it came after the last batch
            signal.raise_signal(self._signal)

    def after(
        self, capture: Capture, model: nn.Module, totals: Totals, *, settle: Callable[[], None]
    ) -> None:
        """A batch is done: save if it is time; Interrupted if a signal has come.

        ``settle`` brings into the capture what is still to be told of the batch.
        """
        self.done += 1
        number = self._signal
        if number is None and (self._gives_up or monotonic() < self._due):
            return
        start = monotonic()
        settle()
        self._save(capture, model, totals)
        took = monotonic() - start
        self._due = monotonic() + (self._every and max(self._every, took / LARGEST_SHARE))
        if number is not None:
            raise Interrupted(number, self._said(totals.examples), saved=not self._trouble)

    def _said(self, examples: int) -> str:
        what = f"interrupted after {examples} of {self._examples} examples"
        return f"{what}, and no state was saved: {self._trouble}" if self._trouble else what

    def _save(self, capture: Capture, model: nn.Module, totals: Totals) -> None:
        try:
            self._require_told(model)
            word, tensors = taken(capture, model, totals, self._marks)
            notes = {
                "fingerprint": dict(self._fingerprint()),
                "command": self.command,
                "done": self.done,
                "word": word,
            }
            with replacing(self.path, force=True) as file:
                state_file.write(file, notes, tensors)
            self._trouble = ""
        except Unsavable as error:
            self._gives_up = True
            self._failed(str(error))
        except CondcliError as error:
            self._failed(error.message)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self._failed("memory is too short")

    def _failed(self, why: str) -> None:
        if not self._trouble and self._signal is None:
            self._notice(f"warning: the probe goes on without saving its state: {why}")
        self._trouble = why

    def _require_told(self, model: nn.Module) -> None:
        """Raise Unsavable where the network keeps something that a state would lack."""
        now = hidden_state(model)
        for name in {**self._hidden, **now}:
            if self._hidden.get(name) != now.get(name):
                raise Unsavable(f"the network keeps something from batch to batch in {name}")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal is None and not self._gives_up:
            self._signal = number
            return
        handler = self._before[number]
        signal.signal(number, handler)
        if callable(handler):
            handler(number, frame)
        else:
            signal.raise_signal(number)

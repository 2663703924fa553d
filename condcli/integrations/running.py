"""A record whose batches begin and end in different calls of a library."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from condcli.recorder import Recorder
from condcli.recording import Recording


class Running:
    """A Recorder, and the record of the step that runs, if it is to be recorded."""

    def __init__(
        self, model: nn.Module, folder: str | Path, step: int, options: dict[str, Any]
    ) -> None:
        self.recorder = Recorder(model, folder, first=step, **options)
        self._record: Recording | None = None
        self._batch = ExitStack()

    def begin(self, step: int) -> None:
        """A step begins, before its first batch."""
        self.drop()
        self._record = self.recorder.begin(step)

    def begin_batch(self, examples: int | None = None, *, calls_only: bool = False) -> None:
        """A batch begins, of the step that runs."""
        if self._record is not None:
            self._batch.enter_context(self._record.batch(examples, calls_only=calls_only))

    def end_batch(self) -> None:
        """Its backward pass is done."""
        self._batch.close()

    def end(self) -> None:
        """All batches of the step are done, and the weights have not changed yet."""
        self._batch.close()
        record, self._record = self._record, None
        if record is not None:
            self.recorder.finish(record)

    def drop(self) -> None:
        """Leave the step, as it is, unrecorded."""
        self._batch.close()
        self._record = None

    def loss(self, loss: Tensor, *, terms: int, name: str) -> Tensor:
        """As `Step.loss`."""
        if self._record is not None:
            self._record.capture.loss.tell(loss, terms, name)
        return loss

    def close(self) -> None:
        """The training has ended."""
        self.drop()
        self.recorder.close()

"""`Recorder` in the ``Trainer`` of Hugging Face's transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

try:
    from transformers import TrainerCallback
except ImportError as error:
    from condcli.errors import UsageError

    raise UsageError(
        "transformers is not installed", "install it: pip install 'condcli[hf]'"
    ) from error

from condcli.integrations.running import Running


class RecorderCallback(TrainerCallback):
    """Records every n-th optimizer step: ``Trainer(…, callbacks=[RecorderCallback("run/")])``.

    ``options`` are those of `condcli.Recorder`, but for ``accumulate`` and ``first``, which the
    Trainer knows. The loss has to be computed in the network's forward pass, as its own networks
    do when they are given labels; another one is told by ``loss``.
    """

    def __init__(self, folder: str | Path, **options: Any) -> None:
        self._folder, self._options = folder, options
        self._running: Running | None = None

    def loss(self, loss: Tensor, *, terms: int, name: str = "own") -> Tensor:
        """Say what the mean loss is, in ``compute_loss`` for instance; as `Step.loss`."""
        return loss if self._running is None else self._running.loss(loss, terms=terms, name=name)

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The network is ready."""
        model: nn.Module = others["model"]
        self._running = Running(model, self._folder, state.global_step, self._options)

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The first batch of a step comes."""
        if self._running is not None:
            self._running.begin(state.global_step)
            # Nobody tells a callback of an exception: no mode may be left behind.
            self._running.begin_batch(calls_only=True)

    def on_substep_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """A batch of several has gone backward, and another one comes."""
        if self._running is not None:
            self._running.end_batch()
            self._running.begin_batch(calls_only=True)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The last batch of a step has gone backward."""
        if self._running is not None:
            self._running.end()

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """All files are written."""
        if self._running is not None:
            self._running.close()
            self._running = None

"""`Recorder` in the ``Trainer`` of Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    from condcli.errors import UsageError

    raise UsageError(
        "lightning is not installed", "install it: pip install 'condcli[lightning]'"
    ) from error

from condcli.capture.origins import tensors_in
from condcli.errors import UsageError
from condcli.integrations.running import Running


class RecorderCallback(Callback):
    """Records every n-th optimizer step: ``Trainer(…, callbacks=[RecorderCallback("run/")])``.

    ``options`` are those of `condcli.Recorder`, but for ``accumulate`` and ``first``, which the
    Trainer knows. ``network`` is the path of the module to record within the LightningModule; by
    default it is the whole. A loss that is none of torch.nn.functional is told by ``loss``.
    """

    def __init__(self, folder: str | Path, *, network: str = "", **options: Any) -> None:
        self._folder, self._network, self._options = folder, network, options
        self._running: Running | None = None
        self._step = -1  # whose batches come

    def loss(self, loss: Tensor, *, terms: int, name: str = "own") -> Tensor:
        """Say what the mean loss is, in ``training_step``; as `Step.loss`."""
        return loss if self._running is None else self._running.loss(loss, terms=terms, name=name)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The network is ready."""
        if not pl_module.automatic_optimization:
            raise UsageError(
                "with manual optimization nobody tells when a step begins and ends",
                "use condcli.Recorder in training_step: with recorder.step():",
            )
        model = pl_module.get_submodule(self._network)
        self._running = Running(model, self._folder, trainer.global_step, self._options)
        self._step = -1

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """A batch comes, the first one of a step or another."""
        if self._running is None:
            return
        if self._step != trainer.global_step:
            self._step = trainer.global_step
            self._running.begin(self._step)
        examples = [len(tensor) for tensor in tensors_in(batch) if tensor.dim()]
        self._running.begin_batch(examples[0] if examples else None)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The batch has gone backward."""
        if self._running is not None:
            self._running.end_batch()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """All batches of the step have gone backward."""
        if self._running is not None:
            self._running.end()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """The batch is over, even if it was passed over."""
        if self._running is not None and outputs is None:
            self._running.drop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """The loop has failed: leave nothing behind."""
        self._close()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All files are written."""
        self._close()

    def _close(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None

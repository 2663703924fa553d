"""The loss that a training goes backward from, and so the scale of all its gradients."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from torch import Tensor

from condcli.capture.guard import Guard
from condcli.capture.layer import LOW_PRECISION
from condcli.capture.seen_loss import Scale, SeenLoss, scale, told
from condcli.errors import InputError, UsageError

TELL_LOSS = "say what the mean loss is, before the backward pass: step.loss(loss, terms=N)"


class TrainingLoss:
    """One loss a batch: the user's word on it, or else the one that goes backward.

    ``began`` is called with it, and with what it amounts to, as its gradient comes back.
    """

    def __init__(self, guard: Guard, began: Callable[[SeenLoss, Scale], None]) -> None:
        self.name = ""
        self.scale = 0.0  # the gradient with respect to the mean loss, at the most
        self.is_told = False  # whether the user has said what the loss is
        self._guard, self._began = guard, began
        self._found: Scale | None = None  # of the batch that runs

    def restart(self) -> None:
        """Another batch runs."""
        self._found, self.is_told = None, False

    def tell(self, loss: Tensor, terms: int, name: str) -> None:
        """The training's loss, a mean over so many terms; its backward pass is yet to come."""
        if not loss.requires_grad or loss.dim():
            raise UsageError(
                "the loss that step.loss was given is no single number with a gradient",
                "give the mean loss itself, not its .item() nor the loss of each example",
            )
        self.is_told = True
        self.hook(told(terms, name), loss, own=True)

    def hook(self, seen: SeenLoss, loss: Tensor, *, own: bool = False) -> None:
        """Wait for the gradient of what may be the loss; one of the user's ``own`` is."""
        value = loss.detach()

        def took(grad: Tensor) -> None:
            if not self._guard.over and own is self.is_told:
                self._guard(self._take, seen, value, grad, own_precision=True)

        loss.register_hook(took)

    def _take(self, seen: SeenLoss, value: Tensor, grad: Tensor) -> None:
        if self._found is not None:
            raise InputError("the loss is made of several losses", TELL_LOSS)
        found = self._found = scale(seen, value, grad.detach())
        self.name = seen.name
        factor = abs(float(found.to_sum))
        self.scale = max(self.scale, found.terms / factor if factor else inf)
        self._began(seen, found)

    def require_found(self) -> None:
        """Raise InputError unless one went backward in this batch."""
        if self._found is None:
            raise InputError(
                "no loss went backward within the step",
                f"call loss.backward() inside `with recorder.step() as step:`, and {TELL_LOSS}",
            )

    def of_sum(self, grad: Tensor) -> Tensor:
        """A gradient of what the training goes backward from, as that of the summed loss."""
        if self._found is None:
            raise InputError("the loss is none that torch.nn.functional computes", TELL_LOSS)
        wide = grad.float() if grad.dtype in LOW_PRECISION else grad
        return wide * self._found.to_sum.to(wide.device)

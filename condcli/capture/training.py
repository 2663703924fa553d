"""Capture of a training's own forward and backward passes.

Nothing runs in place of what the training calls, and nothing runs twice: functions are seen after
they have run, gradients by hooks that return nothing. δ and ∂L/∂W are brought to the summed loss as
they come (`training_loss`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import isfinite
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from condcli.capture.guard import Guard
from condcli.capture.layer import LOW_PRECISION, LayerCapture
from condcli.capture.linear_maps import Call, Lookup
from condcli.capture.losses import Evaluation
from condcli.capture.mode import Capture
from condcli.capture.options import Options
from condcli.capture.origins import tensors_in
from condcli.capture.padding import Padding, real_tokens
from condcli.capture.row_order import EXAMPLES_FIRST, UNKNOWN
from condcli.capture.seen_loss import Scale, SeenLoss, in_backward, see
from condcli.capture.totals import Totals
from condcli.capture.training_loss import TrainingLoss
from condcli.capture.weight_gradients import WeightGradients
from condcli.capture.weights import Block, Use
from condcli.errors import InputError, UsageError

FROZEN = "frozen: its weight takes no gradient in training"
SCALED_BY_FREQUENCY = "embedding(scale_grad_by_freq=True)"
DROPOUTS = ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")


class TrainingCapture(Capture):
    """Statistics of the batches of one training step.

    What goes wrong in here never reaches the training: it is kept in ``guard.trouble``.
    """

    def __init__(self, model: nn.Module, options: Options) -> None:
        super().__init__(model, options)
        self.totals = Totals()
        self.guard = Guard(options.device)
        self.loss = TrainingLoss(self.guard, self._see_loss)
        self.largest_batch = 0
        self.dropout = False  # whether some was active
        self.precision = "none"  # a lower one that a layer ran in
        self.data: list[tuple[list[Tensor], int, int]] = []  # tensors, number, N of each batch
        self._gradients = WeightGradients(self.weights, self.guard, self.loss.of_sum)
        self._inputs: list[Tensor] = []  # of the batch that runs
        self._targets: list[Tensor] = []
        self._given = self._examples = 0  # as the loop says; as they are
        self._versions: list[int] = []  # of the weights, as its backward pass began
        self.computed.of_sum = self.loss.of_sum

    @contextmanager
    def training_batch(
        self, examples: int | None, *, place: int, calls_only: bool = False
    ) -> Iterator[None]:
        """Capture one forward and one backward pass of the training, both within.

        ``examples`` are by default those of the first tensor that the network is given. With
        ``calls_only`` functions are seen while the network is called, and no mode is left behind
        where nobody can close the block after an exception.
        """
        self._inputs, self._targets = [], []
        self._given = self._examples = examples or 0
        self.loss.restart()
        self.guard.over = self.guard.trouble is not None
        with ExitStack() as stack:
            # a graph may live on, with our hooks
            stack.callback(setattr, self.guard, "over", True)
            stack.enter_context(self._gradients.seen())
            stack.enter_context(self._inputs_seen())
            if calls_only:
                stack.enter_context(self._calls_seen(place))
            else:
                stack.enter_context(self.forward_pass(self._given, place=place))
            yield
        if self.guard.trouble is None:
            self.guard(self._end, place)

    @contextmanager
    def _inputs_seen(self) -> Iterator[None]:
        hook = self._model.register_forward_pre_hook(
            lambda _, args, kwargs: self.guard(self._see_inputs, args, kwargs), with_kwargs=True
        )
        try:
            yield
        finally:
            hook.remove()

    @contextmanager
    def _calls_seen(self, place: int) -> Iterator[None]:
        """Capture each call of the network within, and nothing between them."""
        running = ExitStack()

        def enter(module: nn.Module, args: object) -> None:
            if module.training and not self.guard.over:
                running.close()
                running.enter_context(self.forward_pass(0, place=place))
                self.sites.enter(module)

        hooks = (
            self._model.register_forward_pre_hook(enter, prepend=True),
            self._model.register_forward_hook(lambda *_: running.close(), always_call=True),
        )
        try:
            yield
        finally:
            running.close()
            for hook in hooks:
                hook.remove()

    @property
    def norm(self) -> str:
        """Whose statistics batch normalisation uses, as the network is set."""
        flags = [m.training for m in self._model.modules() if isinstance(m, _BatchNorm)]
        return "batch" if any(flags) or not flags else "running"

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the call; take what it tells."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = getattr(func, "__name__", "").partition(".")[0]
        if (
            not self.guard.over
            and (isinstance(out, Tensor | tuple | list) or name == "__setitem__")
            and not in_backward()
        ):
            self.guard(self._see, name, args, kwargs, out)
        return out

    def _see(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if _drops(name, args, kwargs):
            self.dropout = True
        if isinstance(out, Tensor) and out.requires_grad and not self.loss.is_told:
            self._see_loss_call(see(name, args, kwargs), out)
        if name == "embedding" and _scales_by_frequency(args, kwargs):
            self._note_users(SCALED_BY_FREQUENCY, args)
            return
        self._see_call(name, args, kwargs, out)

    def _see_use(self, name: str, call: Call, use: Use, out: Tensor) -> None:
        if out.dtype in LOW_PRECISION:
            self.precision = str(out.dtype).removeprefix("torch.")
        super()._see_use(name, call, use, out)

    def _count(self, name: str, function: str, out: Tensor, axis: int) -> None:
        if self.sites.is_inside():  # a loss has activations of its own
            super()._count(name, function, out, axis)

    def _see_made(self, module: nn.Module, out: Any) -> None:
        if not self.guard.over and not in_backward():
            self.guard(super()._see_made, module, out)

    def _left_out(self, name: str, block: Block, call: Call, out: Tensor) -> str:
        sources = [self.weights.parameters[piece.parameter] for piece in block.pieces]
        if not any(parameter.requires_grad for parameter in sources):
            return FROZEN
        return super()._left_out(name, block, call, out)

    def _is_shared(self, name: str, call: Call, out: Tensor) -> bool:
        """As ``same_for_all``; an axis that only happens to be as long as the batch is none."""
        if self._origins.of(call.x) is None or self.dropout:
            return self.same_for_all(call, out)
        places = [axis for axis, size in enumerate(call.x.shape) if size == self.examples]
        return not any(_repeats(call.x.detach(), axis) for axis in places)

    def _is_example_first(self, name: str, call: Call) -> bool:
        """By the sizes, where only one axis is as long as the batch."""
        alike = call.x.shape[: None if isinstance(call.map, Lookup) else call.map.unit_axis]
        if call.map.kernel:
            alike = call.x.shape[:1]
        return call.map.is_batch_of(call.x, self.examples) and alike.count(self.examples) == 1

    def _order(self, name: str, call: Call, out: Tensor) -> str:
        return EXAMPLES_FIRST if self._is_example_first(name, call) else UNKNOWN

    def _real_tokens(self, out: Tensor, unit_axis: int, *, example_first: bool) -> Tensor | None:
        return super()._real_tokens(out, unit_axis, example_first=True)

    def _see_grad(
        self, layer: LayerCapture, call: Call, grad: Tensor, real: Tensor | None, examples: int
    ) -> None:
        if not self.guard.over:
            see_grad = super()._see_grad
            self.guard(
                lambda: see_grad(layer, call, self.loss.of_sum(grad), real, examples),
                own_precision=True,
            )

    def _see_inputs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The network is called: by its first tensor the examples are known."""
        inputs = [tensor for tensor in tensors_in([args, dict(kwargs)]) if tensor.dim()]
        if self.guard.over or not inputs:
            return
        self.examples = self._given or len(inputs[0])
        real = real_tokens(dict(kwargs)) if kwargs else None
        self._padding = None if real is None else Padding(real)
        if not self._inputs:  # else it is called again
            self._inputs = [tensor.detach().clone() for tensor in inputs]
            self._examples = self.examples

    def _see_loss_call(self, seen: SeenLoss | None, out: Tensor) -> None:
        if seen is None:
            return
        if seen.target is not None and not self.sites.is_running(self._model):
            target = seen.target.detach().clone()  # else it was among the network's own inputs
            self._targets.append(target)
        self.loss.hook(seen, out)

    def _see_loss(self, seen: SeenLoss, found: Scale) -> None:
        """The backward pass begins, from this loss."""
        self._versions = self._now()
        self.totals.see_result(
            Evaluation(
                loss=found.total,
                terms=found.terms,
                scores=seen.scores,
                labels=seen.labels if found.labels is None else found.labels,
            )
        )

    def _end(self, place: int) -> None:
        """The batch went forward and backward."""
        self.loss.require_found()
        if not self._examples:
            raise InputError(
                "the network was not called with a tensor within the step",
                "call it there, or give the number of examples: recorder.step(examples=N)",
            )
        if self._now() != self._versions:
            raise UsageError(
                "the weights changed within the step, after its backward pass began",
                "end the block before optimizer.step(); an optimizer that steps within the "
                "backward pass cannot be recorded",
            )
        self.largest_batch = max(self.largest_batch, self._examples)
        self.data.append(([*self._inputs, *self._targets], place, self._examples))
        self.end_pass()

    def _now(self) -> list[int]:
        return [parameter._version for parameter in self.weights.parameters.values()]

    def hold(self, *, copies: bool) -> None:
        """Give the layers the gradients that came, beside the weights or ``copies`` of them."""
        for key, parameter in self.weights.parameters.items():
            if parameter.dim() > 1:
                values = parameter.detach()
                values = values.float() if values.dtype in LOW_PRECISION else values
                same = values.data_ptr() == parameter.data_ptr()
                self.held[key] = values.clone() if copies and same else values
                self.held[key].grad = self._gradients.of(key)
        for layer in self.layers.values():
            layer.held = self.held.get(id(layer.use.block.parameter))

    def overflowed(self) -> bool:
        """Whether gradients left their range under a loss scale that multiplied them."""
        if self.loss.scale <= 1 or not isfinite(self.totals.mean_loss()):
            return False
        return not self._gradients.are_finite()

    def see_data(self) -> None:
        """Take the batches' data into the totals, once."""
        for tensors, place, examples in self.data:
            self.totals.see_tensors(tensors, place * examples, examples)
        self.data = []


def _repeats(tensor: Tensor, axis: int) -> bool:
    """Whether all slices along the axis are the same."""
    return bool((tensor == tensor.narrow(axis, 0, 1)).all())


def _drops(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether the call is a dropout that is active."""
    if name.rstrip("_") in DROPOUTS:
        return bool(_argument(1, "p", args, kwargs) and _argument(2, "training", args, kwargs))
    if name == "scaled_dot_product_attention":
        return bool(_argument(4, "dropout_p", args, kwargs))
    return False


def _scales_by_frequency(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return bool(_argument(3, "scale_grad_by_freq", args, kwargs))


def _argument(place: int, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return args[place] if len(args) > place else kwargs.get(name)

"""What a network's layers see when one layer's weight is multiplied by α."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from condcli.analysis.scale_law import ScaleEffect
from condcli.capture.calling import logits
from condcli.capture.linear_maps import Call
from condcli.capture.mode import Capture
from condcli.capture.weights import Block, Use
from condcli.curvature.operators import weight_blocks
from condcli.curvature.setting import Setting
from condcli.errors import InputError, UsageError


@dataclass(eq=False)
class Sizes:
    """Of one layer over all batches: sums of squares of x and δ, and the norm of ∂L/∂W."""

    block: Block
    inputs: float = 0.0
    grads: float = 0.0
    weight_grad: float = 0.0

    def ratios(self, before: Sizes) -> list[float | None]:
        """Of root mean squares: x, ∂L/∂h and ∂L/∂W now over those before."""
        return [
            _ratio(math.sqrt(self.inputs), math.sqrt(before.inputs)),
            _ratio(math.sqrt(self.grads), math.sqrt(before.grads)),
            _ratio(self.weight_grad, before.weight_grad),
        ]


class SizeCapture(Capture):
    """Sums squares only."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting.module, setting.options)
        self.sizes: dict[str, Sizes] = {}

    def _see_use(self, name: str, call: Call, use: Use, out: Tensor) -> None:
        sizes = self.sizes.setdefault(name, Sizes(use.block))
        if call.x.is_floating_point():
            sizes.inputs += float((call.x.detach() ** 2).sum())

        def see_grad(grad: Tensor) -> None:
            sizes.grads += float((grad.detach() ** 2).sum())

        if out.requires_grad:
            target = out._base if out._is_view() and out._base is not None else out
            target.register_hook(see_grad)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaled:
    """One layer's weight scaled: the effects on all layers in forward order, and the mean loss."""

    layer: str
    effects: list[ScaleEffect]
    loss: float


@dataclass(eq=False)
class Run:
    """One pass over all batches."""

    sizes: dict[str, Sizes] = field(default_factory=dict)
    output_grads: list[Tensor] = field(default_factory=list)
    loss: float = 0.0

    def require_finite(self) -> None:
        """Raise InputError naming the first layer with a number that is not finite."""
        numbers = {f"layer {name}: its inputs": sizes.inputs for name, sizes in self.sizes.items()}
        numbers["the losses"] = self.loss
        for name, sizes in reversed(self.sizes.items()):
            numbers[f"layer {name}: its gradients"] = sizes.grads
        for what, number in numbers.items():
            if not math.isfinite(number):
                raise InputError(
                    f"{what} hold NaN or infinity", "look at the checkpoint and its data"
                )


def scaled_layers(
    setting: Setting,
    alpha: float,
    *,
    wanted: Callable[[str], bool],
    progress: Callable[[int, int], None],
) -> tuple[float, list[Scaled]]:
    """The mean loss as it is, and what each wanted layer's weight times α does, one at a time.

    The gradient at the network's output is that of the unscaled network throughout, as in the
    theorems. Raises UsageError where no layer is wanted, and InputError where none has a weight
    that can be scaled or a number of the unscaled network is not finite.
    """
    every = weight_blocks(setting)
    blocks = {name: block for name, block in every.items() if wanted(name)}
    if not blocks:
        raise UsageError(
            "--layers, less what --exclude names, leaves no layer to scale",
            f"give globs of names such as {', '.join([*every][:3])}",
        )
    found = []
    with setting.lent():
        before = _run(setting, None)
        before.require_finite()
        for done, (name, block) in enumerate(blocks.items()):
            progress(done, len(blocks))
            with _times(block, alpha):
                after = _run(setting, before.output_grads)
            found.append(Scaled(layer=name, effects=_effects(name, before, after), loss=after.loss))
    progress(len(blocks), len(blocks))
    return before.loss, found


def _run(setting: Setting, output_grads: list[Tensor] | None) -> Run:
    """Forward and backward; from these gradients at the output, else from the loss's own."""
    run, capture, terms = Run(), SizeCapture(setting), 0
    for parameter in setting.module.parameters():
        parameter.grad = None
    for number, (place, batch) in enumerate(setting.batches()):
        with setting.passed(place, batch, capture) as (output, result):
            scores = logits(output) if result.scores is None else result.scores
            if output_grads is None:
                (grad,) = torch.autograd.grad(result.loss, scores, retain_graph=True)
            else:
                grad = output_grads[number]
            if scores.requires_grad:
                scores.backward(grad)
            run.output_grads.append(grad)
            run.loss += float(result.loss.detach())
            terms += result.terms
    if not terms:
        raise InputError(f"{setting.probe_set.source} has no labelled target", "choose other data")
    run.loss /= terms
    run.sizes = capture.sizes
    for sizes in run.sizes.values():
        block = sizes.block
        if block.parameter.grad is not None:
            sizes.weight_grad = float(block.parameter.grad[block.start : block.stop].norm())
    return run


@contextmanager
def _times(block: Block, alpha: float) -> Iterator[None]:
    """The block times α; on leaving it is what it was."""
    kept = block.parameter.data
    scaled = kept.clone()
    scaled[block.start : block.stop] *= alpha
    block.parameter.data = scaled
    try:
        yield
    finally:
        block.parameter.grad = None
        block.parameter.data = kept


def _effects(scaled: str, before: Run, after: Run) -> list[ScaleEffect]:
    names = [name for name in before.sizes if name in after.sizes]
    found = []
    for number, name in enumerate(names):
        x, grad, weight_grad = after.sizes[name].ratios(before.sizes[name])
        found.append(
            ScaleEffect(
                scaled=scaled,
                layer=name,
                place=number - names.index(scaled),
                input_ratio=x,
                grad_ratio=grad,
                weight_grad_ratio=weight_grad,
            )
        )
    return found


def _ratio(now: float, before: float) -> float | None:
    ratio = now / before if before else 0.0
    return ratio if 0 < ratio < math.inf else None

"""Whether all numbers of a pass are finite, told batch by batch.

A sum over rows holds NaN or infinity as soon as one of them does, and it is small, (G, d). On the
CPU the sums are looked at when a batch ends. On other devices, one number stays there until the
next batch has been moved to the device, which waits for it in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from condcli.capture.options import Options
from condcli.errors import InputError

if TYPE_CHECKING:
    from condcli.capture.layer import LayerCapture

Batch = list[int]  # its first and its last example's place in the probe set; [] of all alike
Faults = dict[str, Batch]  # what of a layer is not finite, and the batch that it arose in


class Watch:
    """Looks for layers whose inputs or gradients are not finite, after each batch."""

    def __init__(self, layers: Mapping[str, LayerCapture], options: Options) -> None:
        self._layers = layers  # in forward order
        self._options = options
        self._batch: Batch = []
        self._total: Tensor | None = None  # of all sums, after this batch

    def see(self, place: int, examples: int) -> None:
        """A batch, whose first example has this place, went forward and backward."""
        sums = [total.flatten() for *_, total in self._sums()]
        if not sums:
            return
        self._batch = [place, place + examples - 1]
        self._total = torch.cat(sums).sum()
        if self._options.device.type == "cpu":
            self.look()

    def look(self) -> None:
        """Tell of the batch that was seen last, as ``require_finite`` does."""
        if self._total is None or bool(self._total.isfinite()):
            return
        found = list(self._sums())
        for layer in dict.fromkeys(layer for layer, *_ in found):
            require(layer, "weights", layer.weight_is_finite, [], self._options)
        for layer, what, total in found:
            require(layer, what, partial(_is_finite, total), self._batch, self._options)
        self._total = None

    def _sums(self) -> Iterator[tuple[LayerCapture, str, Tensor]]:
        """Over rows: of all inputs in forward order, then of all gradients in backward order."""
        layers = [each for each in self._layers.values() if each.calls_with_grad == each.calls]
        for layer in layers:
            yield from ((layer, "inputs", total) for total in layer.inputs.sums_of_rows())
        for layer in reversed(layers):
            yield from ((layer, "gradients", total) for total in layer.grads.sums_of_rows())


def require_finite(layers: Iterable[LayerCapture], options: Options) -> None:
    """Raise InputError naming the layer where NaN or infinity came up first in the pass.

    With ``allow_nonfinite`` it is noted in the layer instead.
    """
    layers = list(layers)
    checks = [(layer, "weights", layer.weight_is_finite) for layer in layers]
    checks += [(layer, "inputs", layer.inputs.is_finite) for layer in layers]
    checks += [(layer, "gradients", layer.grads.is_finite) for layer in reversed(layers)]
    checks += [(layer, "weight gradients", layer.weight_grad_is_finite) for layer in layers]
    for layer, what, is_finite in checks:
        require(layer, what, is_finite, [], options)


def require(
    layer: LayerCapture,
    what: str,
    is_finite: Callable[[], bool],
    batch: Batch,
    options: Options,
) -> None:
    """Raise InputError, or make a note in the layer, where this of it is not finite."""
    if what in layer.faults or is_finite():
        return
    if not options.allow_nonfinite:
        raise InputError(
            f"layer {layer.name}: its {what} are not finite{_in_batch(batch)}",
            "check the checkpoint and the scale of the input"
            + (", try --dtype float64" if options.dtype != torch.float64 else "")
            + ", or pass --allow-nonfinite to keep them, flagged",
        )
    layer.faults[what] = batch


def _is_finite(total: Tensor) -> bool:
    return bool(total.isfinite().all())


def note_on(faults: Faults) -> str | None:
    """What is not finite, in words; None where all is."""
    return "; ".join(f"{what}{_in_batch(batch)}" for what, batch in faults.items()) or None


def first_of(told: Iterable[Faults]) -> Faults:
    """Of the faults that several processes found, the first of each kind."""
    found: Faults = {}
    for faults in told:
        for what, batch in faults.items():
            if _place(batch) <= _place(found.get(what)):
                found[what] = batch
    return found


def _place(batch: Batch | None) -> float:
    return inf if batch is None else batch[0] if batch else -1


def _in_batch(batch: Batch) -> str:
    return f" in the batch of examples {batch[0]} … {batch[1]}" if batch else ""

"""What several processes have captured becomes what one would have.

First each tells the others what ran there, and adds, empty, what did not run here. Then all have
the same sums in the same order, and these are all-reduced one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from condcli.capture.activations import ActivationCount
from condcli.capture.finite import first_of
from condcli.capture.layer import LayerCapture
from condcli.capture.linear_maps import Call
from condcli.capture.mode import Capture
from condcli.capture.outline import (
    ActivationOutline,
    LayerOutline,
    Numbering,
    Sums,
    SumsOutline,
    outline,
)
from condcli.capture.ranks import Ranks
from condcli.capture.weights import Use
from condcli.errors import InputError


class Ordered(Protocol):
    """What ran first in one batch or another."""

    @property
    def first(self) -> tuple[int, int]:
        """The place of that batch, and the order in it."""


Told = TypeVar("Told", bound=Ordered)


def combine(capture: Capture, ranks: Ranks) -> None:
    """Make the capture what it would be had this process run the batches of all ``ranks``.

    Per-example gradients come to the first process only. Raises InputError for a computed weight
    that not all processes have seen.
    """
    if ranks.of == 1:
        return
    numbering = Numbering(capture)
    outlines = ranks.gathered(outline(capture, numbering))
    _combine_layers(capture, [each.layers for each in outlines], numbering, ranks)
    _combine_activations(capture, [each.activations for each in outlines], ranks)
    for other in outlines:
        for name, (place, runs, why) in other.left_out.items():
            entry = capture.left_out.setdefault(name, (numbering.block(place), set(), why))
            entry[1].update(map(numbering.piece, runs))
        for place, users in other.users.items():
            capture.users.setdefault(numbering.key(place), {}).update(dict.fromkeys(users))


def _combine_layers(
    capture: Capture,
    outlines: Sequence[Mapping[str, LayerOutline]],
    numbering: Numbering,
    ranks: Ranks,
) -> None:
    layers: dict[str, LayerCapture] = {}
    device = capture.options.device
    for order, (name, told) in enumerate(_in_order(outlines)):
        _require_known(name, told, ranks)
        layer = capture.layers.get(name) or _empty_layer(name, told[0], capture, numbering)
        layer.order, layer.first_place = order, min(each.first for each in told)[0]
        layer.calls, layer.calls_with_grad, layer.passes = map(
            sum, zip(*(each.calls for each in told), strict=True)
        )
        layer.faults = first_of(each.faults for each in told)
        layer.pieces.update(numbering.piece(run) for each in told for run in each.pieces)
        _add_up(layer.inputs, [each.inputs for each in told], device, ranks)
        _add_up(layer.grads, [each.grads for each in told], device, ranks)
        layer.gather_examples(ranks, device)
        layers[name] = layer
    capture.layers = layers
    _add_up_weight_grads(layers.values(), ranks)
    for layer in layers.values():
        if numbering.place(layer.use.block.key) is None:
            _compare_computed(layer, capture, ranks)


def _combine_activations(
    capture: Capture, outlines: Sequence[Mapping[str, ActivationOutline]], ranks: Ranks
) -> None:
    activations: dict[str, ActivationCount] = {}
    for order, (name, told) in enumerate(_in_order(outlines)):
        place = min(each.first for each in told)[0]
        count = capture.activations.get(name) or ActivationCount(
            told[0].function, order, told[0].unit_axis, place=place
        )
        count.order, count.first_place = order, place
        _add_up(count, [each.counts for each in told], capture.options.device, ranks)
        activations[name] = count
    capture.activations = activations


def _in_order(outlines: Sequence[Mapping[str, Told]]) -> list[tuple[str, list[Told]]]:
    """All names with what each process tells of them, in the order of one process's batches."""
    told: dict[str, list[Told]] = {}
    for mine in outlines:
        for name, item in mine.items():
            told.setdefault(name, []).append(item)
    return sorted(told.items(), key=lambda entry: min(item.first for item in entry[1]))


def _require_known(name: str, told: Sequence[LayerOutline], ranks: Ranks) -> None:
    if len(told) < ranks.of and told[0].block is None:
        raise InputError(
            f"layer {name}: its weight is computed, and only {len(told)} of {ranks.of} processes "
            "had an example that went through it",
            "probe in one process, or leave it out with --exclude",
        )


def _empty_layer(
    name: str, told: LayerOutline, capture: Capture, numbering: Numbering
) -> LayerCapture:
    """A layer that did not run here."""
    assert told.block is not None
    use = Use(numbering.block(told.block), told.outputs, told.transposed)
    weight = use.weight(use.block.parameter)
    call = Call(told.kind, weight[:0], weight, weight[:0] if told.bias else None, told.map)
    layer = LayerCapture(
        name,
        use,
        call,
        order=0,
        place=0,
        options=capture.options,
        example_first=True,  # what else is known of it, the others tell
    )
    layer.held = capture.held.get(id(use.block.parameter))
    return layer


def _add_up(own: Sums, told: Sequence[SumsOutline], device: torch.device, ranks: Ranks) -> None:
    forms = next((each.forms for each in told if each.forms), ())
    sums = own.running_sums() or [
        torch.zeros(shape, dtype=dtype, device=device) for shape, dtype in forms
    ]
    for total in sums:
        ranks.add_up(total)
    if sums:
        own.replace(sum(each.rows for each in told), sums)


def _add_up_weight_grads(layers: Iterable[LayerCapture], ranks: Ranks) -> None:
    """Each parameter once, in float64; layers can share one."""
    parameters = {id(layer.parameter): layer.parameter for layer in layers}
    for parameter in parameters.values():
        grad = parameter.grad
        if grad is None:
            total = torch.zeros_like(parameter, dtype=torch.float64)
        else:
            total = grad.to_dense().to(torch.float64, copy=True).contiguous()
        ranks.add_up(total)
        parameter.grad = total.to(parameter.dtype)


def _compare_computed(layer: LayerCapture, capture: Capture, ranks: Ranks) -> None:
    """Whether the computed weight had the same values in all processes."""
    block = layer.use.block
    values = block.parameter.detach().double()
    mean, spread = values.clone().contiguous(), capture.computed.spread(block).double().clone()
    ranks.add_up(mean)
    ranks.add_up(spread)
    apart: Tensor = (values - mean / ranks.of).abs().max() if values.numel() else spread
    capture.computed.set_spread(block, spread + apart)

"""The pass: forward and backward over the probe batches, with everything captured on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from condcli.batch import Batch, Tensors, examples_in
from condcli.capture.calling import call
from condcli.capture.layer import LayerCapture
from condcli.capture.losses import Evaluation, Loss
from condcli.capture.memory import peak_memory
from condcli.capture.mode import Capture
from condcli.capture.options import Options
from condcli.capture.rehearsal import network_errors, on_device
from condcli.capture.totals import Totals
from condcli.capture.undisturbed import undisturbed
from condcli.capture.weights import WeightIndex
from condcli.errors import InputError, UsageError
from condcli.stats import ActivationStats, LayerStats, SkippedWeight


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one run over the probe batches measured."""

    layers: Mapping[str, LayerStats]
    activations: Mapping[str, ActivationStats]
    skipped: Mapping[str, SkippedWeight]
    totals: Totals
    peak_memory_bytes: int


def measure(
    model: nn.Module,
    batches: Iterable[Batch],
    options: Options,
    *,
    loss: Loss,
    example_first: Container[str],
    source: str,
    progress: Callable[[int], None],
) -> Measurement:
    """The statistics of every linear map and activation, from one pass over ``batches``.

    ``model`` is left exactly as it was. Gradients are of the summed loss, so how the examples
    fall into batches does not matter (batch statistics, ``norm="batch"``, apart).
    ``example_first`` names the layers whose input's first axis is the examples' (a rehearsal
    tells); ``source`` names the data in errors; ``progress`` is called with the
    examples done, after each batch.

    Raises InputError when the data do not fit the model or a statistic is not finite.
    """
    _require_match(model, options)
    capture = Capture(model, options, trusted=example_first)
    device, dtype = options.device, options.dtype
    totals = Totals()
    with undisturbed(model, options):
        for x, y in batches:
            totals.see_data(x, y)
            start = time.perf_counter()
            x = on_device(x, device, dtype)
            totals.see_result(_one_pass(capture, model, x, y, loss, source))
            totals.seconds += time.perf_counter() - start
            progress(totals.examples)
        if not totals.examples:
            raise InputError(f"{source} holds no examples", "choose other data")
        if not totals.terms:
            raise InputError(f"{source} has no labelled target", "choose other data")
        start = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        totals.seconds += time.perf_counter() - start
        peak = peak_memory(device)
        missing = {name: why for name, layer in capture.layers.items() if (why := layer.missing())}
        complete = [layer for name, layer in capture.layers.items() if name not in missing]
        _require_finite(complete)
        stats = [
            layer.stats(
                examples=totals.examples,
                terms=totals.terms,
                other_use=capture.unfollowed.get(layer.use.block.name, ""),
            )
            for layer in complete
        ]
    return Measurement(
        layers={layer.name: layer for layer in stats},
        activations={name: count.stats(name) for name, count in capture.activations.items()},
        skipped=_skipped(capture, missing, options),
        totals=totals,
        peak_memory_bytes=peak,
    )


def _one_pass(
    capture: Capture, model: nn.Module, x: Tensors, y: Tensors, loss: Loss, source: str
) -> Evaluation:
    with network_errors(x, source), capture.forward_pass(examples_in(y)):
        output = call(model, x)
    result = loss.of(output, y, source)
    if result.loss.requires_grad:
        with network_errors(x, source):
            result.loss.backward()
    capture.end_pass()
    return result


def _require_match(model: nn.Module, options: Options) -> None:
    names = [block.name for block in WeightIndex(model).blocks()]
    if names and not any(map(options.wants, names)):
        raise UsageError(
            f"--layers {' '.join(options.layers) or '*'}, less what --exclude names, is no layer",
            f"give globs of names such as {', '.join(names[:3])}",
        )


def _require_finite(layers: Sequence[LayerCapture]) -> None:
    """Raise InputError naming the layer where NaN or infinity came up first in the pass."""
    checks: list[tuple[LayerCapture, str, Tensor]]
    checks = [(layer, "weights", layer.use.block.parameter) for layer in layers]
    checks += [(layer, "inputs", layer.inputs.second()) for layer in layers]
    checks += [(layer, "gradients", layer.grads.second()) for layer in reversed(layers)]
    for layer, what, tensor in checks:
        if not tensor.isfinite().all():
            raise InputError(
                f"layer {layer.use.block.name}: its {what} are not finite",
                "check the checkpoint and the scale of the input, or try --dtype float64",
            )


def _skipped(
    capture: Capture, missing: Mapping[str, str], options: Options
) -> dict[str, SkippedWeight]:
    """Every matrix weight that has no statistics, with the reason."""
    skipped = {}
    for block in capture.weights.blocks():
        name = block.name
        if name in capture.layers and name not in missing:
            continue
        if not options.wants(name):
            reason = "left out by --layers or --exclude"
        elif name in missing:
            reason = missing[name]
        elif name in capture.unfollowed:
            reason = f"used by {capture.unfollowed[name]}, which is not captured as a linear map"
        else:
            reason = "did not run"
        kind = type(block.module).__name__
        skipped[name] = SkippedWeight(name=name, kind=kind, reason=reason)
    return skipped

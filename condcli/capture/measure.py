"""The pass: forward and backward over the probe batches, with everything captured on the way."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from condcli.batch import WHOLE, PlacedBatch, Tensors, examples_in, mapped
from condcli.capture.backward import go_backward
from condcli.capture.calling import call
from condcli.capture.combine import combine
from condcli.capture.finite import Watch
from condcli.capture.losses import Evaluation, Loss
from condcli.capture.memory import freed_memory_kept, peak_memory
from condcli.capture.mode import Capture
from condcli.capture.options import Options
from condcli.capture.padding import real_tokens
from condcli.capture.ranks import ALONE, Ranks
from condcli.capture.rehearsal import Rehearsal, autocast, network_errors, on_device
from condcli.capture.results import finished
from condcli.capture.saving import Saver
from condcli.capture.state_file import ANEW
from condcli.capture.totals import Totals, together
from condcli.capture.undisturbed import attributes_kept, in_channels_last, undisturbed
from condcli.errors import BatchTooLargeError, InputError, is_out_of_memory
from condcli.stats import ActivationStats, LayerStats, SkippedParameter


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one run over the probe batches measured."""

    layers: Mapping[str, LayerStats]
    activations: Mapping[str, ActivationStats]
    skipped: Mapping[str, SkippedParameter]
    totals: Totals
    peak_memory_bytes: int


def measure(
    model: nn.Module,
    batches: Iterable[PlacedBatch],
    options: Options,
    *,
    loss: Loss,
    rehearsal: Rehearsal,
    source: str,
    progress: Callable[[int], None],
    sketched: Container[str] = (),
    ranks: Ranks = ALONE,
    saver: Saver | None = None,
) -> Measurement:
    """The statistics of every linear map and activation, from one pass over ``batches``.

    ``model`` is left exactly as it was. Gradients are of the summed loss, so how the examples
    fall into batches does not matter (batch statistics, ``norm="batch"``, apart).
    ``rehearsal`` is that of the same network and data; ``source`` names the data in errors;
    ``progress`` is called with the examples done, after each batch. ``sketched`` layers will have
    more rows than are kept of wide ones (``wide.sketched``). Of several ``ranks``, whose
    ``batches`` are their shares of the same probe set, the first has layers, all have the totals.
    With a ``saver``, one process alone saves its state between batches, or goes on from one.

    Raises InputError when the data do not fit the model or a statistic is not finite, and, with a
    ``saver``, Interrupted when a signal has come.
    """
    capture = Capture(
        model,
        options,
        trusted=rehearsal.example_first,
        shared=rehearsal.shared,
        orders=rehearsal.orders,
        sketched=sketched,
    )
    device = options.device
    with undisturbed(model, options, channels_last=rehearsal.channels_last):
        with freed_memory_kept():
            totals = _passes(
                capture,
                model,
                batches,
                loss=loss,
                channels_last=rehearsal.channels_last,
                source=source,
                progress=progress,
                saver=saver,
            )
        combine(capture, ranks)
        totals = together(ranks.gathered(totals.on_cpu()))
        if not totals.examples:
            raise InputError(f"{source} holds no examples", "choose other data")
        if not totals.terms:
            raise InputError(f"{source} has no labelled target", "choose other data")
        peak = max(ranks.gathered(peak_memory(device)))
        if ranks.number > 0:
            return Measurement(
                layers={}, activations={}, skipped={}, totals=totals, peak_memory_bytes=peak
            )
        layers, skipped = finished(capture, examples=totals.examples, terms=totals.terms)
    return Measurement(
        layers=layers,
        activations={
            name: count.stats(name, mergeable=options.shard != WHOLE)
            for name, count in capture.activations.items()
        },
        skipped=skipped,
        totals=totals,
        peak_memory_bytes=peak,
    )


def _passes(
    capture: Capture,
    model: nn.Module,
    batches: Iterable[PlacedBatch],
    *,
    loss: Loss,
    channels_last: bool,
    source: str,
    progress: Callable[[int], None],
    saver: Saver | None,
) -> Totals:
    """All batches forward and backward; what they add up to beside the layers."""
    options, totals = capture.options, Totals()
    batches = iter(batches)
    _seed(options.seed)
    if saver is not None:
        totals = saver.begin(capture, model, totals)
        _pass_over(islice(batches, saver.done), totals, options.seed, source)
        progress(totals.examples)
    watch = Watch(capture.layers, options)
    with nullcontext() if saver is None else saver.watching():
        for place, (x, y) in batches:
            totals.see_data(x, y, place)
            start = time.perf_counter()
            # Random numbers in the network are the same however the batches are shared out.
            _seed(options.seed + place, options.device)
            real = real_tokens(x)
            with attributes_kept(model):
                x = on_device(x, options.device, options.dtype)
                watch.look()
                x = mapped(in_channels_last, x) if channels_last else x
                real = None if real is None else real.to(options.device)
                with _told_of_memory(examples_in(y)):
                    # No name for it: its graph would live on through the next batch.
                    totals.see_result(_one_pass(capture, model, x, y, real, place, loss, source))
                totals.columns = max(totals.columns, capture.columns)
                watch.see(place, examples_in(y))
            _seed(options.seed + place + examples_in(y))  # whatever draws when it is read
            totals.seconds += time.perf_counter() - start
            progress(totals.examples)
            if saver is not None:
                saver.after(capture, model, totals, settle=watch.look)
    start = time.perf_counter()
    if options.device.type == "cuda":
        torch.cuda.synchronize(options.device)
    watch.look()
    totals.seconds += time.perf_counter() - start
    return totals


def data_seen(batches: Iterable[PlacedBatch], seed: int) -> Totals:
    """What the data alone tell when they are read as for a pass: how many there are, and which."""
    seen = Totals()
    _seed(seed)
    for place, (x, y) in batches:
        seen.see_data(x, y, place)
        _seed(seed + place + examples_in(y))
    return seen


def _pass_over(done: Iterable[PlacedBatch], totals: Totals, seed: int, source: str) -> None:
    """Read the batches that are done; InputError where they are not those of the ``totals``."""
    seen = data_seen(done, seed)
    if (seen.examples, seen.data_sha256()) != (totals.examples, totals.data_sha256()):
        raise InputError(
            f"{source}: its first {totals.examples} examples are not those of the saved state",
            f"give the same data again, or {ANEW}",
        )


def _seed(seed: int, device: torch.device | None = None) -> None:
    """Start Python's, NumPy's and torch's random numbers anew, those of ``device`` too.

    ``torch.manual_seed`` keeps a stack trace for CUDA at every call without one.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type != "cpu":
        torch.manual_seed(seed)


@contextmanager
def _told_of_memory(examples: int) -> Iterator[None]:
    """Say by how large a batch memory ran out."""
    try:
        yield
    except (RuntimeError, OSError, MemoryError) as error:
        if is_out_of_memory(error):
            raise BatchTooLargeError(examples) from error
        raise


def _one_pass(
    capture: Capture,
    model: nn.Module,
    x: Tensors,
    y: Tensors,
    real: Tensor | None,
    place: int,
    loss: Loss,
    source: str,
) -> Evaluation:
    with autocast(capture.options):
        with network_errors(x, source), capture.forward_pass(examples_in(y), real, place=place):
            output = call(model, x)
        # A loss may view it as rows, as it can in the usual memory format.
        output = output.contiguous() if isinstance(output, Tensor) else output
        result = loss.of(output, y, source)
    with network_errors(x, source):
        go_backward(capture, loss, output, result)
    capture.end_pass()
    return result

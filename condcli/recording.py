"""One recorded step of a training: its batches are captured, and become a statistics file."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from condcli.capture.combine import combine
from condcli.capture.memory import give_back_freed, peak_memory
from condcli.capture.options import Options
from condcli.capture.ranks import present
from condcli.capture.results import finished
from condcli.capture.totals import together
from condcli.capture.training import TrainingCapture
from condcli.errors import InputError, UsageError
from condcli.inputs import digest_of
from condcli.provenance import provenance_of
from condcli.stats import ProbeStats

SHARDED = ("FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine", "PipelineStage")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is recorded, and how."""

    model: nn.Module
    eager: bool
    conv: str
    per_example: str
    layers: tuple[str, ...]
    exclude: tuple[str, ...]
    max_dim: int
    data: str

    def options(self, norm: str = "batch") -> Options:
        """Those of a probe of the network where it is now; UsageError for what does not exist."""
        parameters = [*self.model.parameters()]
        devices = {parameter.device for parameter in parameters}
        if len(devices) != 1 or next(iter(devices)).type == "meta":
            raise UsageError(
                f"the network is on {len(devices)} devices: {', '.join(map(str, devices))}",
                "put all of it on one before Recorder is made",
            )
        double = any(parameter.dtype == torch.float64 for parameter in parameters)
        return Options(
            conv=self.conv,
            norm=norm,
            per_example=self.per_example,
            dtype=torch.float64 if double else torch.float32,
            device=devices.pop(),
            seed=torch.initial_seed() % 2**63,
            layers=self.layers,
            exclude=self.exclude,
            allow_nonfinite=True,
            max_dim=self.max_dim,
        )


def network_of(model: nn.Module, *, eager: bool) -> nn.Module:
    """The network itself within what trains it in parallel or compiles it.

    Raises UsageError where its weights are not whole in this process, and for a compiled one
    unless ``eager``.
    """
    while True:
        names = {kind.__name__ for kind in type(model).__mro__}
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif "OptimizedModule" in names:
            _require_eager(eager)
            model = getattr(model, "_orig_mod")  # noqa: B009
        else:
            break
    for module in model.modules():
        kinds = {kind.__name__ for kind in type(module).__mro__}
        if isinstance(module, DataParallel) or kinds & {*SHARDED}:
            raise UsageError(
                f"{type(module).__name__} keeps the weights of a network in pieces or in copies, "
                "which cannot be recorded",
                "train in one process, or with DistributedDataParallel",
            )
        if "OptimizedModule" in kinds or module._compiled_call_impl is not None:
            _require_eager(eager)
    if any(type(parameter).__name__ == "DTensor" for parameter in model.parameters()):
        raise UsageError(
            "the network's weights are spread over processes (DTensor)",
            "train in one process, or with DistributedDataParallel",
        )
    return model


def _require_eager(eager: bool) -> None:
    # A record's hooks run once more for the wrapper, as torch warns: it is none of our modules.
    warnings.filterwarnings("ignore", r"Using `torch\.compile\(module\)` when there are global")
    if not eager:
        raise UsageError(
            "the network is compiled, and what runs inside cannot be seen",
            "pass eager=True: recorded steps then run uncompiled, and round differently",
        )


Job = Callable[[], ProbeStats]


class Recording:
    """The record of one step, batch by batch."""

    def __init__(self, settings: Settings, number: int) -> None:
        self.number = number
        self.overflowed = False  # under a loss scale that was too large: try the next step
        self._settings = settings
        self._ranks = present()
        self._capture = TrainingCapture(settings.model, settings.options())
        self._batches = 0
        self._buffers = {
            name: buffer.detach().clone() for name, buffer in settings.model.named_buffers()
        }

    @property
    def capture(self) -> TrainingCapture:
        """What is seen."""
        return self._capture

    @contextmanager
    def batch(self, examples: int | None = None, *, calls_only: bool = False) -> Iterator[None]:
        """Record one forward and one backward pass, within, as ``training_batch`` does."""
        capture, ranks = self._capture, self._ranks
        place = self._batches * ranks.of + ranks.number  # in batches, until their sizes are known
        start = time.perf_counter()
        with _uncompiled(), capture.training_batch(examples, place=place, calls_only=calls_only):
            yield
        self._batches += 1
        capture.totals.seconds += time.perf_counter() - start

    def ended(self, *, copies: bool, flagged: bool) -> Job | None:
        """What makes the statistics, here or in another thread; None in all processes but one.

        The training may go on meanwhile if ``copies`` of its weights are made. Gradients that
        a loss scale made infinite are no record, unless they are to be ``flagged``. Raises what
        went wrong in any of the processes: InputError or UsageError where it is the loop's fault.
        """
        capture, ranks = self._capture, self._ranks
        self._require_no_trouble()
        capture.hold(copies=copies)
        self.overflowed = not flagged and any(ranks.gathered(capture.overflowed()))
        if self.overflowed:
            return None
        norm, state = capture.norm, self._state(copies=copies)
        if ranks.of > 1:  # one alone has time for it later
            capture.see_data()
        combine(capture, ranks)
        capture.totals = together(ranks.gathered(capture.totals.on_cpu()))
        if capture.options.device.type == "cuda":
            torch.cuda.current_stream(capture.options.device).synchronize()
        return partial(self._stats, norm, state) if ranks.number == 0 else None

    def _require_no_trouble(self) -> None:
        trouble = self._capture.guard.trouble
        told = self._ranks.gathered(None if trouble is None else f"{trouble}")
        if trouble is not None:
            raise trouble
        for number, text in enumerate(told):
            if text is not None:
                raise InputError(f"process {number}: {text}", "see what it says")

    def _state(self, *, copies: bool) -> dict[str, Tensor]:
        """The network's state as the step began, by name."""
        model, held = self._settings.model, self._capture.held
        own = dict(model.named_parameters(remove_duplicate=False))
        state = {}
        for name, tensor in model.state_dict().items():
            kept = held.get(id(own.get(name)))
            if name in self._buffers:
                state[name] = self._buffers[name]
            elif kept is not None and kept.dtype == tensor.dtype:
                state[name] = kept
            elif isinstance(tensor, Tensor):
                state[name] = tensor.detach().clone() if copies else tensor
        return state

    def _stats(self, norm: str, state: Mapping[str, Tensor]) -> ProbeStats:
        capture, settings = self._capture, self._settings
        capture.see_data()
        totals, model = capture.totals, settings.model
        layers, skipped = finished(
            capture, examples=totals.examples, terms=totals.terms, give_back=lambda keep: None
        )
        give_back_freed(keep=0)  # the training, not another probe, is what comes next
        return ProbeStats(
            provenance=provenance_of(
                totals,
                capture.options,
                ignore_label=None,
                model_source="memory",
                model_sha256=digest_of(state),
                arch=type(model).__name__,
                parameters=sum(parameter.numel() for parameter in model.parameters()),
                data_source=settings.data,
                normalize="as trained",
                loss_name=capture.loss.name,
                peak_memory_bytes=peak_memory(capture.options.device),
                batch_size=capture.largest_batch,
                step=self.number,
                command="condcli.Recorder",
                norm=norm,
                autocast=capture.precision,
                seed=capture.options.seed,
                dropout=capture.dropout,
            ),
            layers=layers,
            activations={name: count.stats(name) for name, count in capture.activations.items()},
            skipped=skipped,
        )


def _uncompiled() -> AbstractContextManager[Any]:
    """Let compiled code run as it was written: in a compiled function nothing can be seen."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance

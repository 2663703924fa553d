"""A first look before the real pass: does the network take the data, and what will it cost?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod

from torch import Tensor, nn

from condcli.capture.linear_maps import Call
from condcli.capture.memory import SavedBytes
from condcli.capture.mode import Capture
from condcli.capture.options import Options
from condcli.capture.undisturbed import undisturbed
from condcli.capture.weights import Use
from condcli.errors import InputError
from condcli.user_code import foreign_code, one_line

# What torch says, and what to do about it where that is known.
REMEDIES = {"more than 1 value per channel": "pass more --samples or --norm running"}


@dataclass(frozen=True)
class Rehearsal:
    """What the first examples tell about all of them."""

    output_shape: tuple[int, ...]  # without the batch axis
    saved_bytes: int  # kept by autograd for one example
    example_first: frozenset[str]  # layers whose input's first axis follows the examples
    moment_numbers: int  # entries of all moments
    gradient_numbers: int  # weights of the layers that see more than one row per example


class Survey(Capture):
    """Sees the network run, and takes note of sizes only."""

    def __init__(self, model: nn.Module, options: Options) -> None:
        super().__init__(model, options)
        self.example_first: set[str] = set()
        self.moments: dict[str, int] = {}
        self.gradients: dict[str, int] = {}

    def _see_use(self, call: Call, use: Use, out: Tensor) -> None:
        name = use.block.name
        matrices = call.map.weight_matrix(use.weight(use.block.parameter))
        groups, d_out, d_in = matrices.shape
        if self.options.conv == "channels":
            d_in //= prod(call.map.kernel)
        self.moments[name] = groups * (d_in**2 + d_out**2)
        if call.map.is_batch_of(call.x, self.examples):
            self.example_first.add(name)
        if out.dim() != 2 or name in self.gradients:
            self.gradients[name] = matrices.numel()


def rehearse(model: nn.Module, x: Tensor, options: Options, *, source: str) -> Rehearsal:
    """Run one example forward, two or three times over: batch statistics need two values.

    A number of examples other than that of the real batches tells the layers whose input's first
    axis is the examples' from those where it has the same size by chance. A network that takes
    only batches as large as ``x``, such as an exported program, gets those.

    Raises InputError naming the input's shape when the network cannot take it.
    """
    with undisturbed(model, replace(options, norm="running")):
        dtype = options.dtype if x.is_floating_point() else None
        x = x.to(options.device, dtype, copy=True)
        copies = x[:1].repeat_interleave(3 if len(x) == 2 else 2, dim=0)
        try:
            with network_errors(x, source):
                return _rehearsed(model, copies, Survey(model, options))
        except InputError:
            with network_errors(x, source):
                return _rehearsed(model, x, Survey(model, options))


def _rehearsed(model: nn.Module, x: Tensor, survey: Survey) -> Rehearsal:
    saved = SavedBytes(model)
    with saved, survey.forward_pass(len(x)):
        output = model(x.clone())
    return Rehearsal(
        output_shape=tuple(output.shape[1:]) if isinstance(output, Tensor) else (),
        saved_bytes=saved.bytes // len(x),
        example_first=frozenset(survey.example_first),
        moment_numbers=sum(survey.moments.values()),
        gradient_numbers=sum(survey.gradients.values()),
    )


@contextmanager
def network_errors(x: Tensor, source: str) -> Iterator[None]:
    """Turn what the network raises on inputs like ``x`` into an InputError of one line."""

    def explained(error: BaseException) -> InputError:
        cause = one_line(error)
        return InputError(
            f"the model fails on inputs of shape {tuple(x.shape[1:])} from {source} ({cause})",
            _remedy(cause, x),
        )

    with foreign_code(explained):
        yield


def _remedy(cause: str, x: Tensor) -> str:
    if "type" in cause and not x.is_floating_point():
        return "store x as floats or uint8"
    known = (remedy for phrase, remedy in REMEDIES.items() if phrase in cause)
    return next(known, "choose data of the shape it was trained on, or check --arch")

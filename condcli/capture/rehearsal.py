"""A first look before the real pass: does the network take the data, and what will it cost?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor, nn

from condcli.batch import Tensors, examples_in, leaves, mapped, shape_text
from condcli.capture import calling
from condcli.capture.fisher import columns_each
from condcli.capture.linear_maps import Call, Lookup
from condcli.capture.memory import SavedBytes
from condcli.capture.mode import Capture
from condcli.capture.options import Options
from condcli.capture.reduction import order_of
from condcli.capture.row_order import EXAMPLES_FIRST, UNKNOWN
from condcli.capture.undisturbed import in_channels_last, undisturbed
from condcli.capture.weights import Use
from condcli.capture.wide import WideSide, WideSides
from condcli.errors import InputError, UsageError
from condcli.user_code import foreign_code, one_line

FLOAT32_INSIDE = "the network makes float32 tensors of its own: leave out --dtype float64"
# What torch says, and what to do about it where that is known.
REMEDIES = {
    "more than 1 value per channel": "pass more --samples or --norm running",
    "'indices' to have": "the network takes tokens: give it integers, or text:FILE",
    "Float and Double": FLOAT32_INSIDE,
    "got Double": FLOAT32_INSIDE,
    "index out of range": "the data have more tokens or positions than the network: pass its own "
    "--tokenizer, or a smaller --length",
    "exactly one of input_ids": "an encoder with a decoder needs decoder_input_ids in the data",
    "decoder_input_ids": "an encoder with a decoder needs decoder_input_ids in the data",
    "AttributeError": "correct the network's code, or take the version that the weights are of",
}


SHAPES = "choose data of the shape it was trained on, or check --arch"


@dataclass(frozen=True)
class Rehearsal:
    """What the first examples tell about all of them."""

    output_shape: tuple[int, ...]  # without the batch axis
    saved_bytes: int  # kept by autograd for one example
    example_first: frozenset[str]  # layers whose input's first axis follows the examples
    shared: frozenset[str]  # layers with the same rows whatever the examples
    orders: Mapping[str, str]  # how the rows of each layer run
    moment_numbers: int  # entries of all moments
    widest: str  # the layer that has the most of them
    wide: WideSides  # what has no moment of its own
    gradient_numbers: int  # weights of the layers that see more than one row per example
    most_gradients: int  # of them, those of the largest layer
    factor_numbers: int  # inputs and outputs of the layers that see one row per example
    most_factors: int  # of them, those of the widest layer
    most_weights: int  # of one layer
    channels_last: bool  # whether the network runs in this memory format, and faster


class Survey(Capture):
    """Sees the network run, and takes note of sizes only."""

    def __init__(self, model: nn.Module, options: Options, *, copies: bool) -> None:
        """``copies``: the examples are copies of one."""
        super().__init__(model, options)
        self._copies = copies
        self.example_first: set[str] = set()
        self.shared: set[str] = set()
        self.orders: dict[str, str] = {}
        self.moments: dict[str, int] = {}
        self.wide: dict[str, dict[str, WideSide]] = {}  # by the layer and its side
        self.gradients: dict[str, int] = {}
        self.factors: dict[str, int] = {}
        self.most_weights = 0

    def _see_use(self, name: str, call: Call, use: Use, out: Tensor) -> None:
        if self.same_for_all(call, out):
            self.shared.add(name)
        order = self._order(name, call, out)
        self.orders[name] = order if self.orders.get(name, order) == order else UNKNOWN
        matrices = call.map.weight_matrix(use.weight(use.block.parameter))
        groups, d_out, d_in = matrices.shape
        self.most_weights = max(self.most_weights, matrices.numel())
        if self.options.conv == "channels":
            d_in //= prod(call.map.kernel)
        table = isinstance(call.map, Lookup)
        # In the view channels, the rows of a convolution's input are not those of its output.
        source = call.x if self.options.conv == "channels" and call.map.kernel else out
        self.moments[name] = groups * d_in if table else 0
        for side, features, rows in (("input", d_in, source), ("grad", d_out, out)):
            if side == "grad" or not table:
                seen = rows.numel() / rows.shape[call.map.unit_axis] / self.examples
                seen = 1.0 if self.options.conv == "reduce" and not table else seen
                self.moments[name] += self._entries(name, side, groups, features, rows=seen)
        if call.map.is_batch_of(call.x, self.examples):
            self.example_first.add(name)
        if table:
            self.gradients[name] = out.numel() // self.examples
        elif out.dim() != 2 or name in self.gradients:
            self.gradients[name] = matrices.numel()
        else:
            self.factors[name] = d_in + d_out

    def _order(self, name: str, call: Call, out: Tensor) -> str:
        if self._copies:
            return order_of(call, out, self.examples)
        return EXAMPLES_FIRST if call.map.is_batch_of(call.x, self.examples) else UNKNOWN

    def _entries(self, name: str, side: str, groups: int, features: int, *, rows: float) -> int:
        """Those of the moment of one side of a layer; of one that is too wide for it, its rows."""
        if features <= self.options.max_dim:
            return groups * features**2
        sides = self.wide.setdefault(name, {})
        before = sides[side].rows if side in sides else 0.0  # of other calls
        sides[side] = WideSide(groups * features, before + rows)
        return 0


def rehearse(model: nn.Module, x: Tensors, options: Options, *, source: str) -> Rehearsal:
    """Run one example forward, two or three times over: batch statistics need two values.

    A number of examples other than that of the real batches tells the layers whose input's first
    axis is the examples' from those where it has the same size by chance. A network that takes
    only batches as large as ``x``, such as an exported program, gets those.

    Raises InputError naming the input's shape when the network cannot take it.
    """
    x = on_device(x, options.device, options.dtype)
    times = 3 if examples_in(x) == 2 else 2
    copies = mapped(lambda tensor: tensor[:1].repeat_interleave(times, dim=0), x)
    try:
        with network_errors(x, source):
            return _rehearsed(model, copies, options, copies=True)
    except InputError:
        with network_errors(x, source):
            return _rehearsed(model, x, options, copies=False)


def _rehearsed(model: nn.Module, x: Tensors, options: Options, *, copies: bool) -> Rehearsal:
    quiet = replace(options, norm="running")
    with undisturbed(model, quiet):
        survey = Survey(model, options, copies=copies)
        saved, examples = SavedBytes(model), examples_in(x)
        with saved, survey.forward_pass(examples), autocast(options):
            output = calling.call(model, mapped(torch.clone, x))
    _require_match(survey)
    shape = _logits_shape(output)
    return Rehearsal(
        output_shape=shape,
        saved_bytes=saved.bytes // examples,
        example_first=frozenset(survey.example_first),
        shared=frozenset(survey.shared),
        orders=survey.orders,
        moment_numbers=sum(survey.moments.values()),
        wide=_with_columns(
            survey.wide, columns_each(options.fisher, prod(shape), options.mc_samples)
        ),
        widest=max(survey.moments, key=survey.moments.__getitem__, default=""),
        gradient_numbers=sum(survey.gradients.values()),
        most_gradients=max(survey.gradients.values(), default=0),
        factor_numbers=sum(survey.factors.values()),
        most_factors=max(survey.factors.values(), default=0),
        most_weights=survey.most_weights,
        channels_last=_channels_last_pays(model, options) and _takes_channels_last(model, x, quiet),
    )


def _with_columns(wide: WideSides, columns: int) -> WideSides:
    """With so many gradients of each row."""
    times = {"input": 1, "grad": columns}
    return {
        name: {side: replace(found, rows=found.rows * times[side]) for side, found in sides.items()}
        for name, sides in wide.items()
    }


def _channels_last_pays(model: nn.Module, options: Options) -> bool:
    """Where convolutions run faster so, and their rows are views instead of copies."""
    fast = {"cpu": options.dtype == torch.float32, "cuda": options.autocast != "none"}
    maps = any(parameter.dim() == 4 for parameter in model.parameters())
    return maps and fast.get(options.device.type, False)


def _takes_channels_last(model: nn.Module, x: Tensors, options: Options) -> bool:
    """Whether the network does the same in that memory format, forward and backward.

    One that views its maps as rows of another length fails; a backward of someone's own that
    takes memory for granted gives other gradients.
    """
    try:
        usual, other = (_trial(model, x, options, channels_last=last) for last in (False, True))
    except Exception:  # whatever it raises, it runs in the usual format
        return False
    return len(usual) == len(other) and _alike(usual[:1], other[:1]) and _alike(usual, other)


def _trial(model: nn.Module, x: Tensors, options: Options, *, channels_last: bool) -> list[Tensor]:
    """The output and the gradients that its sum gives; nothing where it is no tensor."""
    with undisturbed(model, options, channels_last=channels_last), autocast(options):
        x = mapped(torch.clone, x)
        output = calling.call(model, mapped(in_channels_last, x) if channels_last else x)
        if not isinstance(output, Tensor):
            return [torch.full((1,), torch.nan)]
        if output.requires_grad:
            output.sum().backward()
        grads = (p.grad for p in model.parameters())
        return [output.detach(), *(grad for grad in grads if grad is not None)]


def _alike(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Together, up to rounding, which may turn a few ReLUs; not so for NaN."""
    apart = sum(float((a - b).norm()) ** 2 for a, b in zip(some, others, strict=True))
    return apart <= 1e-4 * sum(float(a.norm()) ** 2 for a in some)


def autocast(options: Options) -> torch.autocast:
    """The precision that the network's forward pass runs in."""
    return torch.autocast(
        options.device.type, dtype=torch.bfloat16, enabled=options.autocast != "none"
    )


def _require_match(survey: Survey) -> None:
    """Raise UsageError where --layers and --exclude leave no layer that there is."""
    options = survey.options
    names = [*survey.moments, *survey.left_out] or [b.name for b in survey.weights.blocks()]
    if names and not any(map(options.wants, names)):
        raise UsageError(
            f"--layers {' '.join(options.layers) or '*'}, less what --exclude names, is no layer",
            f"give globs of names such as {', '.join(names[:3])}",
        )


def _logits_shape(output: object) -> tuple[int, ...]:
    """Without the batch axis; () where only the user's own loss can tell the logits."""
    try:
        return tuple(calling.logits(output).shape[1:])
    except InputError:
        return ()


def on_device(tensors: Tensors, device: torch.device, dtype: torch.dtype) -> Tensors:
    """Copies on ``device``, floats in ``dtype``: a network may work in place on its input."""
    return mapped(
        lambda t: t.to(device, dtype if t.is_floating_point() else None, copy=True), tensors
    )


@contextmanager
def network_errors(x: Tensors, source: str) -> Iterator[None]:
    """Turn what the network raises on inputs like ``x`` into an InputError of one line."""

    def explained(error: BaseException) -> InputError:
        cause = one_line(error)
        return InputError(
            f"the model fails on inputs of shape {shape_text(x)} from {source} ({cause})",
            _remedy(cause, x),
        )

    with foreign_code(explained):
        yield


def _remedy(cause: str, x: Tensors) -> str:
    if "type" in cause and not any(tensor.is_floating_point() for tensor in leaves(x)):
        return "store x as floats or uint8"
    known = (remedy for phrase, remedy in REMEDIES.items() if phrase in cause)
    tokens = not any(tensor.is_floating_point() for tensor in leaves(x))
    usual = "check --tokenizer and --length, or --arch" if tokens else SHAPES
    return next(known, usual)

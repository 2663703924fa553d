"""LSTM, GRU and plain recurrent layers, unrolled: the same values on the very same parameters.

torch runs a whole layer in one kernel that shows nothing of what goes on inside. Here it is
written out, in torch's own equations, so that W_ih and W_hh (and W_hr of a projection) are seen as
linear maps: W_ih of the inputs, W_hh of the hidden states before each step, the initial ones
included. Their gradients are those of the pre-activations. Dropout between layers is off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from condcli.capture.linear_maps import Call, Dense

See = Callable[[Call, Tensor], bool]
Count = Callable[[str, str, Tensor], None]  # unit's name, function, outputs
State = tuple[Tensor, ...]  # h, and c of an LSTM
# (W_ih x, W_hh h, the state) → (the new state before a projection, what the gates gave)
Step = Callable[[Tensor, Tensor, State], tuple[State, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Cell:
    """One kind of recurrent layer: its step, and the gates in the order that the step gives."""

    step: Step
    gates: tuple[tuple[str, str], ...]  # name and function


def _lstm_step(x: Tensor, h: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
    i, f, g, o = (x + h).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * state[1] + i * g
    return (o * c.tanh(), c), (i, f, g, o)


def _gru_step(x: Tensor, h: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
    (x_r, x_z, x_n), (h_r, h_z, h_n) = x.chunk(3, -1), h.chunk(3, -1)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    n = (x_n + r * h_n).tanh()
    return (n + z * (state[0] - n),), (r, z, n)


def _plain_step(function: Callable[[Tensor], Tensor]) -> Step:
    def step(x: Tensor, h: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
        out = function(x + h)
        return (out,), (out,)

    return step


_LSTM = Cell(
    _lstm_step,
    (
        ("input_gate", "sigmoid"),
        ("forget_gate", "sigmoid"),
        ("cell_gate", "tanh"),
        ("output_gate", "sigmoid"),
    ),
)
_GRU = Cell(
    _gru_step, (("reset_gate", "sigmoid"), ("update_gate", "sigmoid"), ("new_gate", "tanh"))
)
_TANH = Cell(_plain_step(torch.tanh), (("tanh", "tanh"),))
_RELU = Cell(_plain_step(torch.relu), (("relu", "relu"),))

LAYERS = {"lstm": _LSTM, "gru": _GRU, "rnn_tanh": _TANH, "rnn_relu": _RELU}
CELLS = {"lstm_cell": _LSTM, "gru_cell": _GRU, "rnn_tanh_cell": _TANH, "rnn_relu_cell": _RELU}


def run_cell(name: str, see: See, count: Count, *args: Any) -> Any:
    """What ``torch.lstm_cell`` and its likes return for these arguments."""
    x, state, w_ih, w_hh, *biases = args
    b_ih, b_hh = biases or (None, None)
    cell = CELLS[name]
    before = tuple(state) if cell is _LSTM else (state,)
    sums = _seen_linear(see, x, w_ih, b_ih), _seen_linear(see, before[0], w_hh, b_hh)
    after, gates = cell.step(*sums, before)
    for (gate, function), out in zip(cell.gates, gates, strict=True):
        count(gate, function, out)
    return after if cell is _LSTM else after[0]


def run_layers(name: str, see: See, count: Count, *args: Any) -> Any:
    """What ``torch.lstm`` and its likes return for these arguments, of a packed sequence too."""
    packed = isinstance(args[3], tuple | list)
    if packed:
        x, sizes, state, flat, biased, layers, _, _, bidirectional = args
        form, batch_first = _Form(tuple(sizes.tolist())), True
    else:
        x, state, flat, biased, layers, _, _, bidirectional, batch_first = args
        form = _Form(None)
    x = x if batch_first else x.transpose(0, 1)
    states = tuple(state) if name == "lstm" else (state,)
    directions = ("", "_reverse") if bidirectional else ("",)
    each = len(flat) // (layers * len(directions))
    finals: list[State] = []
    for layer in range(layers):
        outs = []
        for direction in directions:
            run = len(finals)
            weights = _Weights.of(flat[run * each : (run + 1) * each], biased=biased)
            gates = _Gates(LAYERS[name], count, f"_l{layer}{direction}")
            initial = tuple(s[run] for s in states)
            out, final = _run(form, weights, gates, x, initial, see, backward=bool(direction))
            outs.append(out)
            finals.append(final)
        x = torch.cat(outs, -1)
    out = x if batch_first else x.transpose(0, 1)
    return (out, *(torch.stack(part) for part in zip(*finals, strict=True)))


@dataclass(frozen=True)
class _Form:
    """How the steps of all sequences lie in one tensor: (N, T, d), or packed rows (R, d)."""

    sizes: tuple[int, ...] | None  # of packed rows: how many sequences have each step

    def steps(self, rows: Tensor) -> Sequence[Tensor]:
        return rows.unbind(1) if self.sizes is None else rows.split(self.sizes)

    def joined(self, steps: Sequence[Tensor]) -> Tensor:
        return torch.stack(tuple(steps), 1) if self.sizes is None else torch.cat(tuple(steps))


@dataclass(frozen=True)
class _Weights:
    """The parameters of one layer in one direction."""

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor | None = None
    b_hh: Tensor | None = None
    w_hr: Tensor | None = None

    @classmethod
    def of(cls, flat: Sequence[Tensor], *, biased: bool) -> _Weights:
        """From torch's own order: W_ih, W_hh, b_ih and b_hh if there are any, W_hr if there is."""
        biases = flat[2:4] if biased else (None, None)
        return cls(flat[0], flat[1], *biases, *flat[4 if biased else 2 :])


class _Gates:
    """The step of one layer, and what its gates gave at each step."""

    def __init__(self, cell: Cell, count: Count, suffix: str) -> None:
        self._cell, self._count, self._suffix = cell, count, suffix
        self._outputs: dict[int, tuple[Tensor, ...]] = {}

    def step(self, t: int, x: Tensor, h: Tensor, state: State) -> State:
        """The state after step ``t``."""
        after, self._outputs[t] = self._cell.step(x, h, state)
        return after

    def count(self, form: _Form) -> None:
        """Report every gate over all steps at once."""
        outputs = zip(*(self._outputs[t] for t in sorted(self._outputs)), strict=True)
        for (gate, function), steps in zip(self._cell.gates, outputs, strict=True):
            self._count(f"{gate}{self._suffix}", function, form.joined(steps))


class _Stepwise:
    """A linear map that is run step by step, and seen as one call over all steps.

    Zeros are added to its outputs: their gradients are those of all outputs, in one tensor.
    """

    def __init__(self, form: _Form, like: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        self._form, self._weight, self._bias = form, weight, bias
        self._zeros = like.new_zeros(*like.shape[:-1], len(weight)).requires_grad_()
        self._steps = form.steps(self._zeros)
        self._inputs: dict[int, Tensor] = {}

    def at(self, t: int, x: Tensor) -> Tensor:
        """The outputs of step ``t``."""
        self._inputs[t] = x.detach()
        return F.linear(x, self._weight, self._bias) + self._steps[t]

    def show(self, see: See) -> None:
        """Every step has run."""
        x = self._form.joined([self._inputs[t] for t in sorted(self._inputs)])
        see(Call("linear", x, self._weight, self._bias, Dense()), self._zeros)


def _run(
    form: _Form, w: _Weights, gates: _Gates, x: Tensor, initial: State, see: See, *, backward: bool
) -> tuple[Tensor, State]:
    """One layer in one direction: the outputs, in the form of x, and every sequence's final state.

    Of packed sequences, forward the shorter ones end before the last step; backward they begin
    after the first.
    """
    steps = form.steps(_seen_linear(see, x, w.w_ih, w.b_ih))
    recurrent = _Stepwise(form, x, w.w_hh, w.b_hh)
    projection = None if w.w_hr is None else _Stepwise(form, x, w.w_hr, None)
    outs: dict[int, Tensor] = {}
    ended: list[State] = []
    state = initial
    for t in reversed(range(len(steps))) if backward else range(len(steps)):
        state, rest = _fitted(state, initial, len(steps[t]), begun=bool(outs))
        ended += rest
        state = gates.step(t, steps[t], recurrent.at(t, state[0]), state)
        if projection is not None:
            state = (projection.at(t, state[0]), *state[1:])
        outs[t] = state[0]
    recurrent.show(see)
    if projection is not None:
        projection.show(see)
    gates.count(form)
    final = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return form.joined([outs[t] for t in sorted(outs)]), final


def _fitted(state: State, initial: State, size: int, *, begun: bool) -> tuple[State, list[State]]:
    """The state of the ``size`` sequences that have a step, and that of those that have ended."""
    before = len(state[0])
    if not begun:
        return tuple(s[:size] for s in initial), []
    if size < before:
        return tuple(s[:size] for s in state), [tuple(s[size:] for s in state)]
    if size > before:
        more = (first[before:size] for first in initial)
        return tuple(map(torch.cat, zip(state, more, strict=True))), []
    return state, []


def _seen_linear(see: See, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out = F.linear(x, weight, bias)
    see(Call("linear", x, weight, bias, Dense()), out)
    return out

"""Recurrent networks, and plain twins that run each sequence by itself, in nn.Linear modules."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .attention import linear_of

WIDTH, CLASSES = 4, 3


class SequenceNet(nn.Module):
    """A recurrent layer; a head reads the mean of its outputs and all of its final states."""

    def __init__(self, rnn: nn.RNNBase, *, call: str = "batch", given: bool = False) -> None:
        super().__init__()
        self.rnn = rnn
        self.call = call  # batch, packed, or single: one sequence a call
        runs = rnn.num_layers * (1 + rnn.bidirectional)
        out = rnn.proj_size or rnn.hidden_size
        sizes = [out, rnn.hidden_size] if isinstance(rnn, nn.LSTM) else [out]
        self.given = given
        for i, size in enumerate(sizes):
            self.register_buffer(f"first{i}", torch.randn(runs, 1, size) if given else None)
        self.sizes = sizes
        self.head = nn.Linear(out * (1 + rnn.bidirectional) + runs * sum(sizes), CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        if self.call == "single":
            return torch.cat([self._scores(*self._run(seq), len(seq)) for seq in x])
        if self.call == "packed":
            lengths = lengths_of(x)
            packed = pack_padded_sequence(
                x, lengths, batch_first=self.rnn.batch_first, enforce_sorted=False
            )
            out, final = self.rnn(packed, self._initial(len(x)))
            out, _ = pad_packed_sequence(out, batch_first=True)
            return self._scores(out, final, lengths[:, None].to(x))
        out, final = self._run(x if self.rnn.batch_first else x.transpose(0, 1))
        return self._scores(out if self.rnn.batch_first else out.transpose(0, 1), final, x.shape[1])

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
        batched = x.dim() == 3
        batch = x.shape[0 if self.rnn.batch_first else 1] if batched else 1
        initial = self._initial(batch)
        if initial is not None and not batched:
            initial = tuple(s[:, 0] for s in initial) if len(self.sizes) > 1 else initial[:, 0]
        out, final = self.rnn(x, initial)
        if batched:
            return out, final
        states = final if isinstance(final, tuple) else (final,)
        states = tuple(s[:, None] for s in states)
        return out[None], states if len(states) > 1 else states[0]

    def _initial(self, batch: int) -> Tensor | tuple[Tensor, ...] | None:
        if not self.given:
            return None
        states = tuple(
            getattr(self, f"first{i}").expand(-1, batch, -1).contiguous()
            for i in range(len(self.sizes))
        )
        return states if len(states) > 1 else states[0]

    def _scores(self, out: Tensor, final: Tensor | tuple[Tensor, ...], length: object) -> Tensor:
        states = final if isinstance(final, tuple) else (final,)
        mean = out.sum(1) / length if out.dim() == 3 else out
        return self.head(torch.cat([mean, *(s.transpose(0, 1).flatten(1) for s in states)], 1))


def lengths_of(x: Tensor) -> Tensor:
    """Some length for each example: 1 + its number, up to the whole."""
    return (torch.arange(len(x)) * 3 % x.shape[1]) + 1


class PlainSequenceNet(nn.Module):
    """The same network with every matrix an nn.Linear, called on one row at a time."""

    def __init__(self, net: SequenceNet) -> None:
        super().__init__()
        self.rnn = nn.Module()
        for name, weight in net.rnn.named_parameters():
            if name.startswith("weight"):
                bias = getattr(net.rnn, name.replace("weight", "bias"), None)
                setattr(self.rnn, name, linear_of(weight, bias))
        self.head = linear_of(net.head.weight, net.head.bias)
        self.kind = type(net.rnn).__name__.lower()
        self.relu = getattr(net.rnn, "nonlinearity", "") == "relu"
        self.layers, self.directions = net.rnn.num_layers, 1 + net.rnn.bidirectional
        self.hidden, self.out = net.rnn.hidden_size, net.rnn.proj_size or net.rnn.hidden_size
        self.packed, self.first = (
            net.call == "packed",
            [getattr(net, f"first{i}") for i in range(len(net.sizes))],
        )

    def forward(self, x: Tensor) -> Tensor:
        lengths = lengths_of(x).tolist() if self.packed else [x.shape[1]] * len(x)
        features = [self._features(list(seq[:n])) for seq, n in zip(x, lengths, strict=True)]
        return torch.cat([self.head(row[None]) for row in features])

    def _features(self, steps: list[Tensor]) -> Tensor:
        finals = []
        for layer in range(self.layers):
            runs = []
            for direction in range(self.directions):
                suffix = f"_l{layer}" + ("_reverse" if direction else "")
                order = steps[::-1] if direction else steps
                outs, state = self._direction(order, suffix, layer * self.directions + direction)
                runs.append(outs[::-1] if direction else outs)
                finals.append(state)
            steps = [torch.cat(parts) for parts in zip(*runs, strict=True)]
        h, *c = zip(*finals, strict=True)
        return torch.cat([torch.stack(steps).mean(0), *h, *(part for parts in c for part in parts)])

    def _direction(
        self, steps: list[Tensor], suffix: str, run: int
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        sizes = [self.out, self.hidden] if self.kind == "lstm" else [self.out]
        state = tuple(
            steps[0].new_zeros(size) if first is None else first[run, 0].to(steps[0])
            for size, first in zip(sizes, self.first, strict=True)
        )
        outs = []
        for x in steps:
            maps = [getattr(self.rnn, f"weight_{part}{suffix}") for part in ("ih", "hh")]
            state = self._step(maps[0](x[None])[0], maps[1](state[0][None])[0], state)
            if hasattr(self.rnn, f"weight_hr{suffix}"):
                projected = getattr(self.rnn, f"weight_hr{suffix}")(state[0][None])[0]
                state = (projected, *state[1:])
            outs.append(state[0])
        return outs, state

    def _step(self, x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        d = self.hidden
        if self.kind == "lstm":
            s = x + h
            i, f, o = (torch.sigmoid(s[k * d : (k + 1) * d]) for k in (0, 1, 3))
            c = f * state[1] + i * torch.tanh(s[2 * d : 3 * d])
            return o * torch.tanh(c), c
        if self.kind == "gru":
            r, z = (torch.sigmoid((x + h)[k * d : (k + 1) * d]) for k in (0, 1))
            n = torch.tanh(x[2 * d :] + r * h[2 * d :])
            return ((1 - z) * n + z * state[0],)
        return ((torch.relu if self.relu else torch.tanh)(x + h),)


class CellNet(nn.Module):
    """A recurrent cell, called once a step."""

    def __init__(self, cell: nn.RNNCellBase) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(cell.hidden_size, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


def layer_of_cell(cell: nn.RNNCellBase) -> nn.RNNBase:
    """The one-layer recurrent layer with a cell's weights."""
    kind = {nn.LSTMCell: nn.LSTM, nn.GRUCell: nn.GRU, nn.RNNCell: nn.RNN}[type(cell)]
    layer = kind(cell.input_size, cell.hidden_size, bias=cell.bias, batch_first=True)
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    return layer


def _layer(kind: type[nn.RNNBase], **options: object) -> Callable[[], nn.RNNBase]:
    return lambda: kind(WIDTH, 5, **options)


LAYERS: dict[str, tuple[Callable[[], nn.RNNBase], dict[str, object]]] = {
    "lstm": (_layer(nn.LSTM, batch_first=True), {}),
    "lstm, time first, two layers, no bias": (_layer(nn.LSTM, num_layers=2, bias=False), {}),
    "lstm, both ways, projected, state given": (
        _layer(nn.LSTM, num_layers=2, bidirectional=True, proj_size=3, batch_first=True),
        {"given": True},
    ),
    "lstm, one sequence a call": (_layer(nn.LSTM, batch_first=True), {"call": "single"}),
    "lstm, packed, both ways, state given": (
        _layer(nn.LSTM, num_layers=2, bidirectional=True, batch_first=True),
        {"call": "packed", "given": True},
    ),
    "lstm, dropout between layers": (
        _layer(nn.LSTM, num_layers=2, dropout=0.5, batch_first=True),
        {},
    ),
    "gru, both ways": (_layer(nn.GRU, bidirectional=True, batch_first=True), {}),
    "gru, packed, two layers": (
        _layer(nn.GRU, num_layers=2, batch_first=True),
        {"call": "packed", "given": True},
    ),
    "gru, one sequence a call, state given": (
        _layer(nn.GRU, batch_first=True),
        {"call": "single", "given": True},
    ),
    "rnn": (_layer(nn.RNN, batch_first=True), {"given": True}),
    "rnn, relu, packed, both ways": (
        _layer(nn.RNN, nonlinearity="relu", bidirectional=True, batch_first=True),
        {"call": "packed"},
    ),
}
CELLS: dict[str, Callable[[], nn.RNNCellBase]] = {
    "lstm cell": lambda: nn.LSTMCell(WIDTH, 5),
    "gru cell": lambda: nn.GRUCell(WIDTH, 5),
    "rnn cell": lambda: nn.RNNCell(WIDTH, 5, bias=False),
    "rnn cell, relu": lambda: nn.RNNCell(WIDTH, 5, nonlinearity="relu"),
}

"""LSTMs as loops over time of two linear maps, on the very same parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = tuple[Tensor, Tensor]  # h and c


class Loop(nn.Module):
    """An LSTM over batches first, one way."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.layers, self.size = lstm.num_layers, lstm.hidden_size
        adopt(self, lstm)

    def forward(self, x: Tensor) -> tuple[Tensor, State]:
        last = []
        for layer in range(self.layers):
            state = (x.new_zeros(len(x), self.size), x.new_zeros(len(x), self.size))
            steps = []
            for time in range(x.shape[1]):
                state = step(self, x[:, time], state, f"_l{layer}")
                steps.append(state[0])
            x = torch.stack(steps, 1)
            last.append(state)
        h, c = zip(*last, strict=True)
        return x, (torch.stack(h), torch.stack(c))


class Cell(nn.Module):
    """An LSTM cell that starts from nothing."""

    def __init__(self, cell: nn.LSTMCell) -> None:
        super().__init__()
        self.size = cell.hidden_size
        adopt(self, cell)

    def forward(self, x: Tensor) -> State:
        zero = x.new_zeros(len(x), self.size)
        return step(self, x, (zero, zero), "")


def unrolled(network: nn.Module) -> nn.Module:
    """The network with every LSTM in it replaced, in place."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.LSTM):
                setattr(module, name, Loop(child))
            elif isinstance(child, nn.LSTMCell):
                setattr(module, name, Cell(child))
    return network


def adopt(module: nn.Module, other: nn.Module) -> None:
    """Gives a module the other's own parameters, by their names."""
    for name, parameter in other.named_parameters():
        module.register_parameter(name, parameter)


def step(module: nn.Module, x: Tensor, state: State, suffix: str) -> State:
    own = dict(module.named_parameters())
    gates = F.linear(x, own[f"weight_ih{suffix}"], own[f"bias_ih{suffix}"])
    gates = gates + F.linear(state[0], own[f"weight_hh{suffix}"], own[f"bias_hh{suffix}"])
    take, forget, new, give = gates.chunk(4, 1)
    c = forget.sigmoid() * state[1] + take.sigmoid() * new.tanh()
    return give.sigmoid() * c.tanh(), c

"""Recurrent layers against plain twins that run every sequence by itself, step by step."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from condcli.api import probe
from condcli.stats import ProbeStats

from .cases import labelled
from .recurrent import CELLS, LAYERS, WIDTH, CellNet, PlainSequenceNet, SequenceNet, layer_of_cell
from .reference import Batch, Moments, measure
from .test_against_reference import FACTS, layer_errors

pytestmark = pytest.mark.filterwarnings("ignore:dropout option adds dropout")


def batches() -> list[Batch]:
    return labelled(6, WIDTH, sizes=(4, 3))()


def sequence_net(name: str) -> SequenceNet:
    torch.manual_seed(5)
    make, options = LAYERS[name]
    return SequenceNet(make(), **options)


def probed(model: nn.Module) -> ProbeStats:
    return probe(model, batches(), dtype="float64", per_example="all")


@cache
def both(name: str) -> tuple[ProbeStats, dict[str, Moments]]:
    """What is measured of a network, and what is true."""
    net = sequence_net(name)
    return probed(net), measure(PlainSequenceNet(net), batches())


@pytest.mark.parametrize("name", LAYERS)
def test_every_matrix_of_a_recurrent_layer_agrees_with_the_reference(name: str) -> None:
    assert_agreement(*both(name))


@pytest.mark.parametrize("name", CELLS)
def test_every_matrix_of_a_recurrent_cell_agrees_with_the_reference(name: str) -> None:
    torch.manual_seed(5)
    net = CellNet(CELLS[name]())
    layer = layer_of_cell(net.cell)
    if getattr(net.cell, "nonlinearity", "") == "relu":
        layer.nonlinearity, layer.mode = "relu", "RNN_RELU"
    twin = LastState(SequenceNet(layer), net.head)
    truth = measure(twin, batches())
    names = {f"net.rnn.{part}_l0": f"cell.{part}" for part in ("weight_ih", "weight_hh")}
    assert_agreement(probed(net), {names.get(name, name): one for name, one in truth.items()})


class LastState(nn.Module):
    """The twin of a net of a cell: a head on the last state alone."""

    def __init__(self, net: SequenceNet, head: nn.Linear) -> None:
        super().__init__()
        self.net, self.head = PlainSequenceNet(net), head

    def forward(self, x: Tensor) -> Tensor:
        finals = [self.net._direction(list(seq), "_l0", 0)[1][0] for seq in x]
        return self.head(torch.stack(finals))


@pytest.mark.parametrize("name", LAYERS)
def test_the_unrolled_form_computes_what_the_kernel_computes(name: str) -> None:
    net = sequence_net(name)
    double = deepcopy(net).double().eval()
    with torch.no_grad():
        scores = torch.cat([double(x.double()) for x, _ in batches()])
    loss = functional.cross_entropy(scores, torch.cat([y for _, y in batches()]))
    assert both(name)[0].provenance.loss == pytest.approx(float(loss), rel=1e-12)


@pytest.mark.parametrize("name", [n for n, (_, o) in LAYERS.items() if o.get("call") != "packed"])
def test_the_example_gradients_of_a_recurrent_layer_agree(name: str) -> None:
    stats, truth = both(name)
    for layer_name, layer in stats.layers.items():
        if LAYERS[name][1].get("call") == "single":
            assert layer.weight_grad_moment_lambda_max is None
        else:
            assert layer.weight_grad_moment_lambda_max == pytest.approx(
                truth[layer_name].weight_grad_moment_lambda_max, rel=1e-10
            )


def test_gates_are_counted_under_one_name_each() -> None:
    net = sequence_net("lstm")
    with torch.no_grad():
        net.rnn.bias_ih_l0[5:10] = 20  # every forget gate wide open
    gates = probed(net).activations
    assert {name: one.function for name, one in gates.items()} == {
        "rnn/input_gate_l0": "sigmoid",
        "rnn/forget_gate_l0": "sigmoid",
        "rnn/cell_gate_l0": "tanh",
        "rnn/output_gate_l0": "sigmoid",
    }
    forget, other = gates["rnn/forget_gate_l0"], gates["rnn/input_gate_l0"]
    assert (forget.units, forget.rows) == (5, 7 * 6)
    assert forget.saturated_count is not None
    assert forget.saturated_count.tolist() == [42] * 5
    assert other.saturated_count is not None
    assert other.saturated_count.sum() == 0


def test_a_cell_called_at_every_step_has_the_same_names_however_long_the_sequence() -> None:
    short, long = (
        probe(CellNet(nn.GRUCell(WIDTH, 5)), labelled(steps, WIDTH)()) for steps in (2, 9)
    )
    assert list(short.activations) == list(long.activations)
    assert list(short.activations) == ["cell/reset_gate", "cell/update_gate", "cell/new_gate"]
    assert long.activations["cell/new_gate"].rows == 5 * 9


def test_every_parameter_of_a_recurrent_layer_is_spoken_for() -> None:
    stats = probed(sequence_net("lstm, both ways, projected, state given"))
    assert not stats.skipped
    numbers = [layer.parameters for layer in stats.layers.values()]
    assert sum(numbers) == stats.provenance.parameters
    assert stats.layers["rnn.weight_ih_l0"].parameters == 20 * WIDTH + 20
    assert stats.layers["rnn.weight_hr_l0"].parameters == 3 * 5


def test_a_learned_initial_state_is_skipped_as_what_it_is() -> None:
    class Learned(SequenceNet):
        def __init__(self) -> None:
            super().__init__(nn.GRU(WIDTH, 5, batch_first=True), given=True)
            del self.first0
            self.first0 = nn.Parameter(torch.randn(1, 1, 5))

    stats = probed(Learned())
    assert "gru" in stats.skipped["first0"].reason
    assert stats.layers["rnn.weight_hh_l0"].rows == 7 * 6


def assert_agreement(stats: ProbeStats, truth: dict[str, Moments]) -> None:
    # The twin calls W_hh at every step, and each sequence by itself.
    facts = set(FACTS) - {"calls"}
    assert set(stats.layers) == set(truth)
    for name, layer in stats.layers.items():
        assert {fact: getattr(layer, fact) for fact in facts} == {
            fact: getattr(truth[name], fact) for fact in facts
        }
        errors = dict(layer_errors(layer, truth[name]))
        assert {key: error for key, error in errors.items() if not error <= 1e-10} == {}, name

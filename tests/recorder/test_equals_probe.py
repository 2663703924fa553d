"""A record has the numbers of a separate probe of the same weights and batches."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from condcli.api import probe
from condcli.capture.per_example import NO_EXAMPLE_AXIS
from condcli.capture.training import FROZEN
from condcli.output.headline import headline
from tests.capture.cases import CASES
from tests.capture.parts import NETS, WIDE
from tests.capture.test_coincidences import Positions
from tests.capture.test_wide import moment_of, sides

from .loops import assert_layers_agree, batches, network, record_once

# Where all is frozen there is nothing to train; without a label, the mean loss is 0/0.
NO_TRAININGS = (
    "all parameters frozen",
    "transformer encoder layer, frozen",
    "a batch without any label",
)


def mse(output: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(output, target.to(output.dtype).reshape(output.shape))


def bce(output: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(output, target.double().reshape(output.shape))


LOSSES = {"mse": mse, "bce": bce, "cross-entropy": F.cross_entropy}


@pytest.mark.parametrize("name", [name for name in CASES if name not in NO_TRAININGS])
def test_every_kind_of_network(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = case.model().double()
    for module in model.modules():
        module.training = case.norm == "batch" and isinstance(module, _BatchNorm)
    options = {"conv": "patches", "per_example": "all"}
    expected = probe(
        deepcopy(model), case.batches(), loss=case.loss, norm=case.norm, dtype="float64", **options
    )
    data = [(x.double() if x.is_floating_point() else x, y) for x, y in case.batches()]
    stats = record_once(
        model, tmp_path / "run", data, LOSSES[expected.provenance.loss_name], **options
    )
    frozen = [name for name, item in stats.skipped.items() if item.reason == FROZEN]
    assert bool(frozen) == (name == "frozen first layers")
    # There are as many tokens as examples: which axis is whose, only a trial can tell.
    unknown = NO_EXAMPLE_AXIS if name == "transformer encoder layer" else ""
    assert_layers_agree(stats, expected, tolerance=1e-10, without=frozen, unknown=unknown)


@pytest.mark.parametrize("name", ["experts", "computed weight"])
def test_networks_that_choose_and_compute(name: str, tmp_path: Path) -> None:
    """Over five batches, of which not each goes through every layer."""
    net = NETS[name]
    model, data = net.model().double(), net.batches()
    expected = probe(deepcopy(model), data, dtype="float64")
    stats = record_once(model, tmp_path / "run", [(x.double(), y) for x, y in data])
    assert_layers_agree(stats, expected, tolerance=1e-10)


@pytest.mark.parametrize("name", WIDE)
def test_wide_layers_have_the_same_factors(name: str, tmp_path: Path) -> None:
    """Rows that are kept, and, where more come than that, sketches."""
    net = WIDE[name]
    model, data = net.model().double(), net.batches()
    expected = probe(deepcopy(model), data, dtype="float64", **net.options)
    stats = record_once(model, tmp_path / "run", [(x.double(), y) for x, y in data], **net.options)
    for layer_name, layer, side in sides(expected):
        other, moment = stats.layers[layer_name], moment_of(layer, side)
        size = float(np.abs(moment).max())
        np.testing.assert_allclose(moment_of(other, side), moment, rtol=0, atol=1e-8 * size)
        error, again = (getattr(each, f"{side}_error") for each in (layer, other))
        assert again == (error and pytest.approx(error, rel=1e-6))


@pytest.mark.parametrize("view", ["channels", "patches"])
def test_float32_to_one_millionth(view: str, tmp_path: Path) -> None:
    model, data = network(), batches(1, examples=32)
    expected = probe(deepcopy(model), data, conv=view)
    stats = record_once(model, tmp_path / "run", data, conv=view)
    assert_layers_agree(stats, expected, tolerance=1e-6)


def test_weights_and_data_have_the_digests_of_a_probe(tmp_path: Path) -> None:
    """Those of the weights, and of the running statistics, as the step found them."""
    model, data = network(), batches(1)
    expected = probe(deepcopy(model), data).provenance
    mine = record_once(model, tmp_path / "run", data).provenance
    for field in ("model_sha256", "data_sha256", "examples", "loss_terms", "loss_name", "accuracy"):
        assert getattr(mine, field) == getattr(expected, field), field
    for field in ("chance", "parameters", "arch", "conv", "norm", "dtype", "batch_size"):
        assert getattr(mine, field) == getattr(expected, field), field
    assert mine.loss == pytest.approx(expected.loss, rel=1e-6)
    assert (mine.command, mine.step, mine.dropout) == ("condcli.Recorder", 0, False)


def test_a_batch_as_long_as_a_table_is_not_taken_for_examples(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = [(torch.randn(5, 6), torch.arange(5) % 3)]
    stats = record_once(Positions(), tmp_path / "run", data)
    assert list(stats.layers) == ["head"]
    assert "same for all examples" in stats.skipped["place"].reason


def test_recurrent_layers_are_listed_as_skipped(tmp_path: Path) -> None:
    """torch runs them in one kernel; writing it out would change the training."""
    torch.manual_seed(0)
    model = nn.LSTM(4, 3, batch_first=True)
    head = nn.Linear(3, 3)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = model, head

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    stats = record_once(Net(), tmp_path / "run", [(torch.randn(5, 7, 4), torch.arange(5) % 3)])
    assert list(stats.layers) == ["head"]
    assert "lstm" in stats.skipped["lstm.weight_ih_l0"].reason


def test_dropout_is_left_on_and_told(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3))
    x = torch.ones(8, 6)
    stats = record_once(model, tmp_path / "run", [(x, torch.arange(8) % 3)])
    assert stats.provenance.dropout is True
    values = np.unique(np.diagonal(stats.layers["1"].input_moment))
    assert "norm batch, dropout on" in headline(stats.provenance)
    assert len(values) > 1  # of the ones, each column lost its own and doubled the others

"""Recorder as a callback of Lightning's Trainer."""

from __future__ import annotations

import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from condcli.api import probe
from condcli.errors import UsageError

from .loops import assert_layers_agree, batches, network, step_file
from .test_untouched import assert_nothing_left

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lightning.pytorch import LightningModule, Trainer

    from condcli.integrations.lightning import RecorderCallback

pytestmark = pytest.mark.filterwarnings("ignore")


class Classifier(LightningModule):
    def __init__(self, *, fails_at: int = -1, manual: bool = False) -> None:
        super().__init__()
        self.net = network().double()
        self.fails_at = fails_at
        self.automatic_optimization = not manual

    def training_step(self, batch: Any, number: int) -> Tensor:
        if number == self.fails_at:
            raise ValueError("the loop fails")
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader() -> DataLoader[Any]:
    pieces = batches(6)
    x, y = torch.cat([x for x, _ in pieces]).double(), torch.cat([y for _, y in pieces])
    return DataLoader(TensorDataset(x, y), batch_size=8)


def fitted(module: LightningModule, *callbacks: Any, **options: Any) -> None:
    trainer = Trainer(
        **{"max_epochs": 1, "accelerator": "cpu", "devices": 1, "logger": False},
        **{"enable_checkpointing": False, "enable_progress_bar": False},
        **{"enable_model_summary": False, "gradient_clip_val": 0.01, "barebones": False},
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(module, loader())


@pytest.mark.parametrize("network_path", ["", "net"])
def test_a_step_of_two_batches_is_a_probe_of_both(network_path: str, tmp_path: Path) -> None:
    module = Classifier()
    first = deepcopy(module.net)
    callback = RecorderCallback(tmp_path, every=2, network=network_path)
    fitted(module, callback, accumulate_grad_batches=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step_00000000.h5",
        "step_00000002.h5",
    ]
    data = [(x.double(), y) for x, y in batches(2)]
    expected = probe(first, data, dtype="float64")
    stats = step_file(tmp_path, 0)
    names = [f"net.{name}" if not network_path else name for name in expected.layers]
    assert [*stats.layers] == names
    if network_path:
        assert_layers_agree(stats, expected, tolerance=1e-10)
        assert stats.provenance.data_sha256 == expected.provenance.data_sha256
    assert stats.provenance.accuracy == expected.provenance.accuracy
    assert stats.provenance.examples == 16


def test_a_training_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    plain, recorded = Classifier(), Classifier()
    fitted(plain)
    fitted(recorded, RecorderCallback(tmp_path, every=2))
    for name, weight in plain.state_dict().items():
        assert torch.equal(recorded.state_dict()[name], weight), name
    assert_nothing_left(recorded)


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    module = Classifier(fails_at=2)
    with pytest.raises(ValueError, match="the loop fails"):
        fitted(module, RecorderCallback(tmp_path, every=1))
    assert_nothing_left(module)
    assert len([*tmp_path.iterdir()]) == 2


def test_manual_optimization_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="manual optimization"):
        fitted_without_clipping(Classifier(manual=True), RecorderCallback(tmp_path))


def fitted_without_clipping(module: nn.Module, callback: Any) -> None:
    Trainer(
        **{"max_epochs": 1, "accelerator": "cpu", "logger": False, "callbacks": [callback]},
        **{"enable_checkpointing": False, "enable_progress_bar": False},
        enable_model_summary=False,
    ).fit(module, loader())

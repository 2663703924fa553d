"""kronfluence: the activation and pseudo-gradient covariances of its Analyzer.

Conversion. With the summed loss and `use_empirical_fisher`, kronfluence keeps the sums of x xᵀ and
δ δᵀ over rows and the number of rows, so sum / count is condcli's mean. For a layer with bias it
appends a column of ones to x: condcli's moment is the block without it, the mean of x that column.
Convolutions are in view `patches`. Its covariances of grouped convolutions pool the groups and
cannot be converted.
"""

from __future__ import annotations

import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from condcli.api import probe

from .networks import Network, cnn, inputs, labels, mlp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its dependencies, at import
    pytest.importorskip("kronfluence")
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments
    from kronfluence.task import Task

pytestmark = pytest.mark.filterwarnings("ignore")  # of its dependencies, while it runs


class SummedCrossEntropy(Task):
    def compute_train_loss(
        self, batch: list[Tensor], model: nn.Module, sample: bool = False
    ) -> Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1], reduction="sum")

    def compute_measurement(self, batch: list[Tensor], model: nn.Module) -> Tensor:
        return self.compute_train_loss(batch, model)


@pytest.mark.parametrize("network", [mlp, cnn])
def test_the_moments_agree_with_the_covariances(network: Network, tmp_path: Path) -> None:
    model = network()
    layers = probe(model, (inputs(model), labels()), conv="patches", dtype="float64").layers
    covariances = fit(model, tmp_path)
    for name, layer in layers.items():
        a, a_rows, g, g_rows = (
            covariances[key][name].numpy()
            for key in (
                "activation_covariance",
                "num_activation_covariance_processed",
                "gradient_covariance",
                "num_gradient_covariance_processed",
            )
        )
        assert layer.rows == a_rows == g_rows
        assert_close(layer.input_moment, a[: layer.d_in, : layer.d_in] / a_rows)
        assert_close(layer.grad_moment, g / g_rows)
        if layer.bias:
            assert_close(layer.input_mean, a[-1, :-1] / a_rows)


def fit(model: nn.Module, folder: Path) -> dict[str, dict[str, Tensor]]:
    task = SummedCrossEntropy()
    arguments = FactorArguments(
        use_empirical_fisher=True,
        activation_covariance_dtype=torch.float64,
        gradient_covariance_dtype=torch.float64,
    )
    analyzer = Analyzer(
        "oracle",
        prepare_model(deepcopy(model), task),
        task,
        cpu=True,
        disable_tqdm=True,
        output_dir=str(folder),
    )
    analyzer.fit_covariance_matrices(
        "factors",
        TensorDataset(inputs(model), labels()),
        per_device_batch_size=4,
        factor_args=arguments,
    )
    covariances = analyzer.load_covariance_matrices("factors")
    assert covariances is not None
    return covariances


def assert_close(measured: np.ndarray, truth: np.ndarray) -> None:
    np.testing.assert_allclose(measured, truth, rtol=0, atol=1e-12 * abs(truth).max())

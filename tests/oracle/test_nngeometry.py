"""nngeometry: PMatKFAC and PMatBlockDiag of the per-example loss.

Conversion. With the per-example loss as the one output, the Fisher matrix is the empirical one.
nngeometry appends a column of ones to x for a bias; the moments of condcli are the block without
it, and the mean of x is that column. In a convolution it sums x xᵀ over the positions and averages
δ δᵀ over rows: A = T · Σ_x (view `patches`) and G = Σ_∇h. Both are divided by the examples.
A block of PMatBlockDiag holds the weight first, then the bias; its sums go through a float32
buffer, whatever the model's dtype, hence the wider tolerance.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from condcli.api import probe

from .networks import Network, cnn, inputs, labels, mlp, weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its docstrings have invalid escape sequences
    pytest.importorskip("nngeometry")
    from nngeometry.backend import TorchHooksJacobianBackend
    from nngeometry.layercollection import LayerCollection
    from nngeometry.object import PMatBlockDiag, PMatKFAC


@pytest.mark.parametrize("network", [mlp, cnn])
def test_the_kronecker_factors_agree_with_kfac(network: Network) -> None:
    model = network()
    layers = probe(model, (inputs(model), labels()), conv="patches", dtype="float64").layers
    factors = blocks(model, PMatKFAC)
    assert factors.keys() == layers.keys()
    for name, (a, g) in factors.items():
        layer = layers[name]
        a = a.numpy() / layer.positions
        assert_close(layer.input_moment, a[: layer.d_in, : layer.d_in])
        assert_close(layer.grad_moment, g.numpy())
        if layer.bias:
            assert_close(layer.input_mean, a[-1, :-1])


@pytest.mark.parametrize("network", [mlp, cnn])
def test_the_largest_eigenvalue_of_the_example_gradients_agrees_with_the_block(
    network: Network,
) -> None:
    model = network()
    data = (inputs(model), labels())
    layers = probe(model, data, dtype="float64", per_example="all").layers
    for name, block in blocks(model, PMatBlockDiag).items():
        size = weights(model)[name].numel()
        largest = np.linalg.eigvalsh(block.numpy()[:size, :size])[-1]
        assert layers[name].weight_grad_moment_lambda_max == pytest.approx(largest, rel=1e-6)


def blocks(model: nn.Module, representation: type) -> dict[str, Any]:
    """nngeometry's blocks of the empirical Fisher matrix by layer name."""

    def example_loss(x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(model(x), y, reduction="none")[:, None]

    collection = LayerCollection.from_model(model)
    backend = TorchHooksJacobianBackend(
        layer_collection=collection, model=model, function=example_loss
    )
    loader = DataLoader(TensorDataset(inputs(model), labels()), batch_size=4)
    data = representation(generator=backend, examples=loader).data
    names = {id(module): name for name, module in model.named_modules()}
    modules, _ = collection.get_layerid_module_maps(model)
    return {names[id(module)]: data[layer_id] for layer_id, module in modules.items()}


def assert_close(measured: np.ndarray, truth: np.ndarray) -> None:
    np.testing.assert_allclose(measured, truth, rtol=0, atol=1e-12 * abs(truth).max())

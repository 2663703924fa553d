"""curvlinops: KFAC (expand and reduce) and the empirical Fisher, as the linear operators they are.

Conversion. Both work with the mean loss over N examples and the weight as a row-major vector.

- KFAC's block of a layer is ggᵀ ⊗ aaᵀ: aaᵀ is the mean over rows of x xᵀ, in condcli's view
  `patches`; ggᵀ is the sum over rows of δ δᵀ, divided by N, which is T times the mean. So
  block = T · Σ_∇h ⊗ Σ_x. For nn.MSELoss and nn.BCEWithLogitsLoss, which also average over the C
  outputs, curvlinops scales the loss by √C, and the block by C. Of the types mc and type-2 it is
  condcli's own block.
- KFAC reduce is condcli's view `reduce`, with the same scale.
- Labels that KFAC draws are replaced by ours; of nn.MSELoss its deviate 1/√C as far.
- The empirical Fisher's block is the mean over examples of g_n g_nᵀ, without any scale.
- Weights and biases are apart (`separate_weight_and_bias`), as in condcli.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from condcli.api import probe
from condcli.stats import LayerStats
from tests.capture.fisher_reference import drawn

from .networks import CLASSES, Network, cnn, inputs, labels, mlp, tokens, weights

curvlinops = pytest.importorskip("curvlinops")

TARGETS = {
    "cross-entropy": (nn.CrossEntropyLoss, labels),
    "mse": (nn.MSELoss, lambda: torch.randn(7, CLASSES, dtype=torch.float64)),
    "bce": (nn.BCEWithLogitsLoss, lambda: torch.rand(7, CLASSES, dtype=torch.float64).round()),
}


VIEWS = {"patches": "expand", "reduce": "reduce"}
FISHERS = {"empirical": "empirical", "mc": "mc", "exact": "type-2"}
SEED, DRAWS = 11, 3


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("conv", VIEWS)
@pytest.mark.parametrize("network", [mlp, cnn, tokens])
@pytest.mark.parametrize("loss", TARGETS)
def test_the_kronecker_factors_agree_with_kfac(
    network: Network, loss: str, conv: str, fisher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    make_loss, make_targets = TARGETS[loss]
    x, y = inputs(model), make_targets()
    options = {"mc_samples": DRAWS, "seed": SEED} if fisher == "mc" else {}
    layers = probe(
        model, (x, y), loss=loss, conv=conv, fisher=fisher, dtype="float64", **options
    ).layers
    scale = CLASSES if fisher == "empirical" and loss != "cross-entropy" else 1
    for name, weight in weights(model).items():
        kfac = curvlinops.KFACLinearOperator(
            model,
            make_loss(),
            [weight],
            [(x[:4], y[:4]), (x[4:], y[4:])],
            fisher_type=FISHERS[fisher],
            kfac_approx=VIEWS[conv],
            mc_samples=DRAWS if fisher == "mc" else 1,
            check_deterministic=False,
        )
        monkeypatch.setattr(kfac, "draw_label", our_labels(y, loss))
        assert_close(scale * sub_fim(layers[name]), dense(kfac, weight.numel()))


def our_labels(y: Tensor, loss: str) -> Callable[[Tensor], Tensor]:
    """What to draw for the two batches, DRAWS times each."""
    calls = count()

    def draw(output: Tensor) -> Tensor:
        batch, k = divmod(next(calls), DRAWS)
        own = y[4:] if batch else y[:4]
        output = output.detach()
        labels = drawn(output, own, loss, SEED, 4 * batch, k)
        return output + (labels - output) / CLASSES**0.5 if loss == "mse" else labels

    return draw


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")
@pytest.mark.parametrize("network", [mlp, cnn])
def test_the_largest_eigenvalue_of_the_example_gradients_agrees_with_the_empirical_fisher(
    network: Network,
) -> None:
    model = network()
    x, y = inputs(model), labels()
    layers = probe(model, (x, y), dtype="float64", per_example="all").layers
    for name, weight in weights(model).items():
        fisher = curvlinops.EFLinearOperator(model, nn.CrossEntropyLoss(), [weight], [(x, y)])
        largest = np.linalg.eigvalsh(dense(fisher, weight.numel()))[-1]
        assert layers[name].weight_grad_moment_lambda_max == pytest.approx(largest, rel=1e-10)


def sub_fim(layer: LayerStats) -> np.ndarray:
    return layer.positions * np.kron(layer.grad_moment, layer.input_moment)


def dense(operator: Any, size: int) -> np.ndarray:
    return (operator @ torch.eye(size, dtype=torch.float64)).detach().numpy()


def assert_close(measured: np.ndarray, truth: np.ndarray) -> None:
    np.testing.assert_allclose(measured, truth, rtol=0, atol=1e-12 * abs(truth).max())

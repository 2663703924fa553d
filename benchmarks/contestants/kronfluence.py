"""kronfluence: the covariance matrices of its Analyzer, before it writes them to disk."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from kronfluence.analyzer import prepare_model
from kronfluence.arguments import FactorArguments
from kronfluence.factor.covariance import fit_covariance_matrices_with_loader
from kronfluence.task import Task as KronfluenceTask
from kronfluence.utils.state import State
from torch import Tensor, nn

from benchmarks.contestants import require_patches
from benchmarks.workloads import Data, Task, summed_cross_entropy

Covariances = dict[str, dict[str, Tensor]]
Factors = dict[str, tuple[Tensor, Tensor]]


class SummedCrossEntropy(KronfluenceTask):
    """The benchmark's loss, as kronfluence asks for it."""

    def compute_train_loss(self, batch: Data, model: nn.Module, sample: bool = False) -> Tensor:
        return summed_cross_entropy(model(batch[0]), batch[1])

    def compute_measurement(self, batch: Data, model: nn.Module) -> Tensor:
        return self.compute_train_loss(batch, model)


def prepare(task: Task) -> Callable[[], Covariances]:
    """A fit over all batches, of a wrapped copy of the model."""
    require_patches(task.workload.conv)
    loss = SummedCrossEntropy()
    arguments: dict[str, Any] = {
        "model": prepare_model(deepcopy(task.model), loss),
        "state": State(cpu=task.x.device.type == "cpu"),
        "task": loss,
        "loader": list(task.batches()),
        "factor_args": FactorArguments(use_empirical_fisher=True),
        "disable_tqdm": True,
    }
    return lambda: fit_covariance_matrices_with_loader(**arguments)[1]


def factors(task: Task, result: Covariances) -> Factors:
    """The sums over rows, divided by the rows, without the column of ones."""
    return {name: (_input(task, result, name), _grad(result, name)) for name in task.layers}


def _input(task: Task, result: Covariances, name: str) -> Tensor:
    d_in = task.layers[name].weight[0].numel()
    rows = result["num_activation_covariance_processed"][name]
    return result["activation_covariance"][name][:d_in, :d_in] / rows


def _grad(result: Covariances, name: str) -> Tensor:
    return result["gradient_covariance"][name] / result["num_gradient_covariance_processed"][name]

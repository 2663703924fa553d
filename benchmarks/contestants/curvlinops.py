"""curvlinops: the Kronecker factors of its KFACLinearOperator (expand)."""

from __future__ import annotations

from collections.abc import Callable

from curvlinops import KFACLinearOperator
from torch import Tensor, nn

from benchmarks.contestants import require_patches
from benchmarks.workloads import Task

FISHER = {"empirical": "empirical", "mc": "mc", "exact": "type-2"}
Covariances = tuple[dict[str, Tensor], dict[str, Tensor]]
Factors = dict[str, tuple[Tensor, Tensor]]


class ClassesSecond(nn.Module):
    """The model with its logits as (N, classes, …)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """The logits, (N, classes, …)."""
        logits: Tensor = self.model(x)
        return logits.movedim(-1, 1)


def prepare(task: Task) -> Callable[[], Covariances]:
    """A new operator, whose factors are computed at once; its own checks are left out."""
    require_patches(task.workload.conv)
    model = ClassesSecond(task.model)
    params = [p for layer in task.layers.values() for p in layer.parameters()]
    data = list(task.batches())

    def run() -> Covariances:
        kfac = KFACLinearOperator(
            model,
            nn.CrossEntropyLoss(reduction="sum"),
            params,
            data,
            fisher_type=FISHER[task.fisher],
            check_deterministic=False,
            num_data=len(task.x),
            num_per_example_loss_terms=task.y[0].numel(),
        )
        kfac.compute_kronecker_factors()
        return kfac._input_covariances, kfac._gradient_covariances

    return run


def factors(task: Task, result: Covariances) -> Factors:
    """The mean of x xᵀ as it is; the sum of δ δᵀ divided by the rows."""
    inputs, grads = result
    return {
        name: (inputs[f"model.{name}"], grads[f"model.{name}"] / (positions * len(task.x)))
        for name, positions in task.positions().items()
    }

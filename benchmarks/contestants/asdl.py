"""ASDL (the package asdfghjkl): its empirical Fisher matrix of Kronecker shape."""

from __future__ import annotations

from collections.abc import Callable

from asdl import FISHER_EMP, SHAPE_KRON, FisherConfig, SymMatrix, get_fisher_maker
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.contestants import require_patches
from benchmarks.workloads import Task

Factors = dict[str, tuple[Tensor, Tensor]]


def prepare(task: Task) -> Callable[[], dict[str, SymMatrix]]:
    """A run over all batches that adds up in the layers, the loss summed; others are ignored."""
    require_patches(task.workload.conv)
    others = [
        m for m in task.model.modules() if m not in task.layers.values() and not list(m.children())
    ]
    config = FisherConfig(FISHER_EMP, [SHAPE_KRON], ignore_modules=others, data_size=1)
    maker = get_fisher_maker(task.model, config)

    def run() -> dict[str, SymMatrix]:
        for index, (x, y) in enumerate(task.batches()):
            logits = maker.setup_model_call(task.model, x)
            maker.setup_loss_call(functional.cross_entropy, logits.flatten(0, -2), y.flatten())
            maker.forward_and_backward(accumulate=index > 0)
        return {name: layer.fisher for name, layer in task.layers.items()}

    return run


def factors(task: Task, result: dict[str, SymMatrix]) -> Factors:
    """Sums over rows, with a column of ones; those of x xᵀ are means over a conv's positions."""
    found = {}
    for name, positions in task.positions().items():
        layer, kron = task.layers[name], result[name].kron
        d_in = layer.weight[0].numel()
        divided = 1 if isinstance(layer, nn.Conv2d) else positions
        a = kron.A[:d_in, :d_in] / (len(task.x) * divided)
        found[name] = a, kron.B / (len(task.x) * positions)
    return found

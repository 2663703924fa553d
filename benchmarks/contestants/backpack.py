"""BackPACK: its KFAC extension, which draws the labels from the model's own prediction.

So Σ_∇h is one of another Fisher matrix, of the same cost but not to be compared. It asks for a
sequence of modules that it knows, without BN, and for inputs of two dimensions in linear layers.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

from backpack import backpack, extend
from backpack.extensions import KFAC
from torch import Tensor, nn

from benchmarks.contestants import Unsupported, require_patches
from benchmarks.workloads import Task

Sums = dict[str, list[Tensor]]
Factors = dict[str, tuple[Tensor, None]]
KNOWN = (nn.Linear, nn.Conv2d, nn.ReLU, nn.Flatten)


def prepare(task: Task) -> Callable[[], Sums]:
    """A run over all batches of an extended copy, its factors added up with their examples."""
    require_patches(task.workload.conv)
    if not (
        isinstance(task.model, nn.Sequential) and all(isinstance(m, KNOWN) for m in task.model)
    ):
        raise Unsupported("KFAC knows sequences without BN only")
    model = extend(deepcopy(task.model))
    loss = extend(nn.CrossEntropyLoss(reduction="sum"))
    weights = {name: model.get_submodule(name).weight for name in task.layers}

    def run() -> Sums:
        sums: Sums = {}
        model.zero_grad()
        for x, y in task.batches():
            with backpack(KFAC(mc_samples=1)):
                loss(model(x), y).backward()
            for name, weight in weights.items():
                g, a = weight.kfac
                _add(sums, name, a * len(x), g)
                del weight.kfac
        return sums

    return run


def factors(task: Task, result: Sums) -> Factors:
    """The mean of x xᵀ, of which a convolution has the sum over positions; nothing for δ δᵀ."""
    positions = task.positions()
    return {name: (a / (positions[name] * len(task.x)), None) for name, (a, _) in result.items()}


def _add(sums: Sums, name: str, *terms: Tensor) -> None:
    if name not in sums:
        sums[name] = list(terms)
    else:
        for total, term in zip(sums[name], terms, strict=True):
            total += term

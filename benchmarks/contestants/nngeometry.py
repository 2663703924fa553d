"""nngeometry: PMatKFAC of the per-example loss."""

from __future__ import annotations

from collections.abc import Callable

from nngeometry.backend import TorchHooksJacobianBackend
from nngeometry.layercollection import LayerCollection
from nngeometry.object import PMatKFAC
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.contestants import Unsupported, require_patches
from benchmarks.workloads import Task

Factors = dict[str, tuple[Tensor, Tensor]]


def prepare(task: Task) -> Callable[[], PMatKFAC]:
    """A new matrix from one pass over a loader."""
    require_patches(task.workload.conv)
    if not task.x.is_floating_point():
        raise Unsupported("asks for the gradient of the inputs, and tokens have none")

    def example_loss(x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(task.model(x), y, reduction="none")[:, None]

    layers = LayerCollection()
    for layer in task.layers.values():
        layers.add_layer_from_model(task.model, layer)
    backend = TorchHooksJacobianBackend(
        layer_collection=layers, model=task.model, function=example_loss
    )
    loader = DataLoader(TensorDataset(task.x, task.y), batch_size=task.workload.batch)
    return lambda: PMatKFAC(generator=backend, examples=loader)


def factors(task: Task, result: PMatKFAC) -> Factors:
    """The first sums over positions, with a column of ones; the second is the mean over rows."""
    modules, _ = result.generator.layer_collection.get_layerid_module_maps(task.model)
    names = {layer: name for name, layer in task.layers.items()}
    positions = task.positions()
    found = {}
    for layer_id, layer in modules.items():
        a, g = result.data[layer_id]
        d_in = layer.weight[0].numel()
        found[names[layer]] = a[:d_in, :d_in] / positions[names[layer]], g
    return found

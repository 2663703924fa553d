"""What a probe must measure, by the slow and plain way: module hooks, autograd and index loops.

The conventions that decide every number:

- The summed loss is loss terms × torch's mean loss. Cross-entropy: one term a labelled target
  (ignore_index -100 has none). mse and bce: one term an example, the mean over its outputs.
- An embedding is the linear map of one-hot rows; its moment is given as the diagonal that it is.
- h is a linear map's output, δ = ∂(summed loss)/∂h. Moments are means over rows, uncentred, with
  no column for the bias. Rows are those of plain_rows.py; all calls of a layer are pooled, and
  layers that share a weight are one layer, named by the first owner, but an embedding and a head
  that share one are two; a model that is itself one
  linear map has the layer `weight`, its path being empty.
- ∂L/∂W is the gradient of the mean loss: the summed loss over all batches / all loss terms.
- g_n is the gradient of example n's own loss terms, scaled so that the mean of g_n is ∂L/∂W.
- norm `batch`: BN layers use each batch's own statistics. Dropout is off in both norm modes.

The model must be plain: built of nn.Linear, nn.Embedding, nn.Conv*d and nn.ConvTranspose*d modules
only, no output changed in place. cases.py gives every other model a plain twin on the same weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from .plain_rows import (
    LINEAR_MAPS,
    groups_of,
    input_rows,
    output_rows,
    split_groups,
    weight_matrices,
)

Batch = tuple[Tensor, Tensor]


@dataclass(eq=False)
class Layer:
    """The rows and gradients of one layer, as they were gathered."""

    module: nn.Module  # the first that has the layer's weight
    calls: int = 0  # in one forward pass
    x: list[Tensor] = field(default_factory=list)  # each (rows, d_in)
    delta: list[Tensor] = field(default_factory=list)  # each (rows, d_out)
    weight_grads: list[Tensor] = field(default_factory=list)  # each (G, d_out/G, d_in/G)
    example_grads: list[Tensor] = field(default_factory=list)  # each (weight entries,)


@dataclass(frozen=True, eq=False)
class Moments:
    """What one layer must report, under the names of condcli.stats.LayerStats."""

    d_in: int
    d_out: int
    groups: int
    kernel_size: tuple[int, ...]
    rows: int
    input_rows: int
    calls: int
    positions: float
    bias: bool
    input_moment: Tensor
    input_mean: Tensor
    grad_moment: Tensor
    grad_mean: Tensor
    weight_singular_values: Tensor
    weight_grad_singular_values: Tensor
    weight_norm: float
    weight_grad_norm: float
    weight_grad_moment_lambda_max: float


@dataclass(eq=False)
class Gathered:
    """Every layer's rows, in the order of the first calls, and the summed loss behind them."""

    loss: float = 0.0
    loss_terms: int = 0
    examples: int = 0
    layers: dict[str, Layer] = field(default_factory=dict)


def measure(
    model: nn.Module,
    batches: Sequence[Batch],
    *,
    loss: str = "auto",
    conv: str = "channels",
    norm: str = "batch",
    dtype: torch.dtype = torch.float64,
) -> dict[str, Moments]:
    """Every statistic of every layer: rows and gradients in ``dtype``, products in float64."""
    gathered = gather(model, batches, loss=loss, conv=conv, norm=norm, dtype=dtype)
    return {name: _moments(layer, gathered) for name, layer in gathered.layers.items()}


def gather(
    model: nn.Module,
    batches: Sequence[Batch],
    *,
    loss: str = "auto",
    conv: str = "channels",
    norm: str = "batch",
    dtype: torch.dtype = torch.float64,
) -> Gathered:
    """The rows and gradients themselves, in ``dtype``."""
    model = _prepared(model, norm=norm, dtype=dtype)
    gathered = Gathered()
    for x, y in batches:
        _add_batch(gathered, model, (_cast(x, dtype), _cast(y, dtype)), loss=loss, conv=conv)
    for layer in gathered.layers.values():
        layer.calls //= len(batches)
    return gathered


def example_losses(output: Tensor, target: Tensor, loss: str) -> tuple[Tensor, int]:
    """Each example's summed loss, (examples,), and the number of loss terms."""
    if loss == "auto":
        loss = "mse" if target.is_floating_point() else "cross-entropy"
    if loss == "cross-entropy":
        each = functional.cross_entropy(output, target, reduction="none")  # 0 where ignored
        return each.reshape(len(output), -1).sum(1), int((target != -100).sum())
    apart = {"mse": functional.mse_loss, "bce": functional.binary_cross_entropy_with_logits}
    each = apart[loss](output, target, reduction="none")
    return each.reshape(len(output), -1).mean(1), len(output)


def second_moment(rows: Tensor) -> Tensor:
    """The mean of x xᵀ over (G, rows, d) rows, in float64: (d, d), or (G, d, d) if G > 1."""
    rows = rows.double()
    moment = torch.stack([group.T @ group / len(group) for group in rows])
    return moment[0] if len(moment) == 1 else moment


def _prepared(model: nn.Module, *, norm: str, dtype: torch.dtype) -> nn.Module:
    """A copy of the model in ``dtype`` and in the probe's mode, with nothing done in place."""
    model = deepcopy(model).to(dtype).requires_grad_(True).eval()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train(norm == "batch")
        if hasattr(module, "inplace"):
            module.inplace = False
    return model


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _add_batch(gathered: Gathered, model: nn.Module, batch: Batch, *, loss: str, conv: str) -> None:
    with _recorded_calls(model) as calls:
        output = model(batch[0])
    losses, terms = example_losses(output, batch[1], loss)
    deltas = torch.autograd.grad(losses.sum(), [h for *_, h in calls], retain_graph=True)
    names = _names_by_weight(model)
    ran: dict[str, Layer] = {}
    for (module, x, h), delta in zip(calls, deltas, strict=True):
        name = names[_identity(module)]
        layer = ran[name] = gathered.layers.setdefault(name, Layer(module))
        layer.calls += 1
        layer.x.append(input_rows(module, x, h, conv=conv))
        layer.delta.append(output_rows(module, delta, x))
    for layer in ran.values():
        layer.weight_grads.append(_weight_grad(losses.sum(), layer.module))
        layer.example_grads += [_weight_grad(own, layer.module).flatten() for own in losses]
    gathered.loss += float(losses.detach().sum())
    gathered.loss_terms += terms
    gathered.examples += len(losses)


@contextmanager
def _recorded_calls(model: nn.Module) -> Iterator[list[tuple[nn.Module, Tensor, Tensor]]]:
    """Every call of a linear map while the context is open: (module, x, h), in order."""
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    versions: list[int] = []

    def record(module: nn.Module, args: tuple[Tensor], h: Tensor) -> None:
        calls.append((module, args[0].detach().clone(), h))
        versions.append(h._version)

    maps = [module for module in model.modules() if isinstance(module, LINEAR_MAPS)]
    handles = [module.register_forward_hook(record) for module in maps]
    yield calls
    for handle in handles:
        handle.remove()
    unchanged = versions == [h._version for *_, h in calls]
    assert unchanged, "an output was changed in place: the case wants a plain twin"


def _names_by_weight(model: nn.Module) -> dict[tuple[Tensor, bool], str]:
    names: dict[tuple[Tensor, bool], str] = {}
    for name, module in model.named_modules():
        if isinstance(module, LINEAR_MAPS):
            names.setdefault(_identity(module), name or "weight")
    return names


def _identity(module: nn.Module) -> tuple[Tensor, bool]:
    return module.weight, isinstance(module, nn.Embedding)


def _weight_grad(loss: Tensor, module: nn.Module) -> Tensor:
    """∂loss/∂W as one matrix a group."""
    (grad,) = torch.autograd.grad(loss, [module.weight], retain_graph=True)
    return weight_matrices(module, grad)


def _moments(layer: Layer, gathered: Gathered) -> Moments:
    module, terms, examples = layer.module, gathered.loss_terms, gathered.examples
    x, delta = torch.cat(layer.x), torch.cat(layer.delta)
    weight = weight_matrices(module, module.weight.detach()).double()
    grad = _total(layer.weight_grads) / terms
    example_grads = torch.stack(layer.example_grads).double() * (examples / terms)
    lambda_max = torch.linalg.matrix_norm(example_grads, ord=2) ** 2 / examples
    return Moments(
        d_in=x.shape[1],
        d_out=delta.shape[1],
        groups=groups_of(module),
        kernel_size=tuple(getattr(module, "kernel_size", ())),
        rows=len(delta),
        input_rows=len(x),
        calls=layer.calls,
        positions=len(delta) / terms,
        bias=getattr(module, "bias", None) is not None,
        input_moment=_input_moment(module, x),
        input_mean=x.double().mean(0),
        grad_moment=second_moment(split_groups(module, delta)),
        grad_mean=delta.double().mean(0),
        weight_singular_values=_singular_values(weight),
        weight_grad_singular_values=_singular_values(grad),
        weight_norm=float(weight.norm()),
        weight_grad_norm=float(grad.norm()),
        weight_grad_moment_lambda_max=float(lambda_max),
    )


def _input_moment(module: nn.Module, x: Tensor) -> Tensor:
    moment = second_moment(split_groups(module, x))
    if not isinstance(module, nn.Embedding):
        return moment
    assert torch.equal(moment, moment.diagonal().diag())
    return moment.diagonal()


def _total(matrices: Iterable[Tensor]) -> Tensor:
    return torch.stack([matrix.double() for matrix in matrices]).sum(0)


def _singular_values(matrices: Tensor) -> Tensor:
    """The singular values of all the groups' matrices, pooled and descending."""
    return torch.linalg.svdvals(matrices).flatten().sort(descending=True).values

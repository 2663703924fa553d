"""What the exact matrices will take, before anything is measured."""

from __future__ import annotations

from math import prod

from torch.nn.modules.batchnorm import _BatchNorm

from condcli.capture.fisher import columns_each
from condcli.capture.memory import require_room
from condcli.curvature.seen import COPIES, seen_layers
from condcli.curvature.setting import Setting

FLOAT = 8  # bytes
FEWER = "pass fewer --samples, some --layers, or --matrix-free"


def require_room_for_matrices(setting: Setting, fisher: str, *, mc_samples: int) -> None:
    """Raise CannotFinishError, with numbers, where the columns and Gram matrices do not fit."""
    each = columns_each(fisher, prod(setting.rehearsal.output_shape), mc_samples)
    examples = setting.probe_set.examples
    count = examples * each
    columns, rows, size, largest = _numbers(setting, count)
    side = min(count, size)
    require_room(
        {
            f"the rows of a batch of {min(setting.batch_size, examples)}": (
                2.0 * FLOAT * rows * min(setting.batch_size, examples),
                "pass a smaller --batch-size, or --matrix-free",
            ),
            f"{count} columns of {size} weights": (FLOAT * (2.0 * columns + largest), FEWER),
            f"matrices of {side} × {side}": (4.0 * FLOAT * side**2, FEWER),
        },
        setting.options.device,
    )


def _numbers(setting: Setting, count: int) -> tuple[int, int, int, int]:
    """Numbers of all layers: in columns, an example's rows, weights; in the largest's columns."""
    tied = setting.options.norm == "batch" and any(
        isinstance(module, _BatchNorm) for module in setting.module.modules()
    )
    columns = rows = size = largest = 0
    for layer in seen_layers(setting).values():
        weight = layer.use.weight(layer.use.block.parameter)
        matrices = layer.calls[0].call.map.weight_matrix(weight)
        groups, d_out, d_in = matrices.shape
        seen = sum(call.inputs.shape[1] for call in layer.calls) // COPIES
        one = len(layer.calls) == 1 and seen == 1 and groups == 1 and not tied
        columns += count * (d_in + d_out if one else matrices.numel())
        rows += groups * seen * (d_in + d_out)
        size += matrices.numel()
        largest = max(largest, count * matrices.numel())
    return columns, rows, size, largest

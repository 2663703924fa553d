"""What the exact matrices will take, before anything is measured."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from torch.nn.modules.batchnorm import _BatchNorm

from condcli.batch import mapped
from condcli.capture.calling import call
from condcli.capture.fisher import columns_each
from condcli.capture.memory import require_room
from condcli.capture.rehearsal import network_errors, on_device
from condcli.capture.undisturbed import undisturbed
from condcli.curvature.setting import Setting
from condcli.inputs import first_batch

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
    """Of all layers: numbers in the columns, in an example's rows, weights; columns of the largest.

    Seen on the first example, twice over: batch statistics, which one cannot have, are left out.
    """
    quiet = replace(setting.options, norm="running")
    x = first_batch(setting.probe_set)[0]
    x = mapped(lambda t: t[:1].repeat_interleave(2, dim=0), x)
    x = on_device(x, setting.options.device, setting.options.dtype)
    capture = setting.capture()
    with (
        undisturbed(setting.module, quiet),
        network_errors(x, setting.probe_set.source),
        capture.forward_pass(2),
    ):
        call(setting.module, x)
    tied = setting.options.norm == "batch" and any(
        isinstance(module, _BatchNorm) for module in setting.module.modules()
    )
    columns = rows = size = largest = 0
    for layer in capture.rows.values():
        matrices = layer.calls[0].call.map.weight_matrix(
            layer.use.weight(layer.use.block.parameter)
        )
        groups, d_out, d_in = matrices.shape
        seen = sum(call.inputs.shape[1] for call in layer.calls) // 2
        one = len(layer.calls) == 1 and seen == 1 and groups == 1 and not tied
        columns += count * (d_in + d_out if one else matrices.numel())
        rows += groups * seen * (d_in + d_out)
        size += matrices.numel()
        largest = max(largest, count * matrices.numel())
    return columns, rows, size, largest

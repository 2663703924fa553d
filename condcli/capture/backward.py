"""What goes backward through one batch: the loss, and the columns of its curvature.

Of the Fisher type empirical the gradients of the loss are all that is taken. Of the others, Σ_∇h
is of the columns, one backward pass each over the same graph, and the loss goes backward as well:
∂L/∂W and the examples' own gradients are always those at the true labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from condcli.capture.fisher import OutputCurvature, one_by_one, output_curvature, trials
from condcli.capture.layer import LayerCapture
from condcli.capture.linear_maps import Call
from condcli.capture.losses import Evaluation, Loss
from condcli.capture.mode import Capture
from condcli.capture.padding import row_axes
from condcli.capture.row_order import by_example, fits
from condcli.errors import UsageError

MOST_PASSES = 10_000  # of one batch


def go_backward(capture: Capture, loss: Loss, output: object, result: Evaluation) -> None:
    """Run all backward passes of the batch that went forward; ``result`` is the loss of ``output``.

    Raises UsageError, with numbers, where the exact type takes more passes than anyone waits for.
    """
    options = capture.options
    if options.fisher != "empirical" and capture.outputs:
        curvature = output_curvature(
            loss,
            output,
            result,
            options.fisher,
            samples=options.mc_samples,
            seed=options.seed,
            place=capture.place,
        )
        if curvature.scores.requires_grad:
            capture.columns = _send_columns(capture, curvature)
    if result.loss.requires_grad:
        result.loss.backward()


def _send_columns(capture: Capture, curvature: OutputCurvature) -> int:
    """How many gradients each row got."""
    exact = capture.options.fisher == "exact"
    apart = not exact or _examples_are_apart(capture, curvature)
    passes = curvature.count * (1 if apart else len(curvature.scores))
    if exact:
        _require_few(passes, curvature, apart=apart)
    for number, column in enumerate(_parts(curvature, apart=apart)):
        with capture.taking(partial(LayerCapture.see_column, counts=number == 0)):
            _send(capture, curvature, column)
    return passes


def _parts(curvature: OutputCurvature, *, apart: bool) -> Iterator[Tensor]:
    for column in map(curvature.column, range(curvature.count)):
        yield from [column] if apart else one_by_one(column)


def _send(capture: Capture, curvature: OutputCurvature, column: Tensor) -> None:
    """Only as far as the layers' outputs: no gradient of a weight is computed."""
    torch.autograd.grad(
        curvature.scores, [*capture.outputs], column, retain_graph=True, allow_unused=True
    )


def _examples_are_apart(capture: Capture, curvature: OutputCurvature) -> bool:
    """Whether a gradient of some examples' outputs reaches only their own rows of each layer.

    Where rows are not ordered by example, the answer is no.
    """
    found: list[bool] = []
    for column, others in trials(curvature.scores):
        with capture.taking(partial(_look, found, others)):
            _send(capture, curvature, column)
    return not any(found)


def _look(
    found: list[bool],
    others: Tensor,
    layer: LayerCapture,
    call: Call,
    grad: Tensor,
    real: Tensor | None,
    examples: int,
) -> None:
    """Note whether a layer's gradient is other than zero for the ``others``, or cannot be told."""
    leading, order = row_axes(grad.shape, call.map.unit_axis), layer.row_order
    rows = call.map.output_rows(grad)
    known = fits(order, leading, examples)
    found.append(not known or bool(by_example(rows, leading, examples, order)[:, others].any()))


def _require_few(passes: int, curvature: OutputCurvature, *, apart: bool) -> None:
    if passes <= MOST_PASSES:
        return
    outputs = f"{curvature.count:,} outputs an example"
    if apart:
        what, remedy = outputs, "pass --fisher mc, with --mc-samples for more labels"
    else:
        examples = len(curvature.scores)
        what = f"{outputs} × {examples} examples, which batch statistics tie together"
        remedy = "pass --norm running, a smaller --batch-size, or --fisher mc"
    raise UsageError(
        f"--fisher exact takes {passes:,} backward passes a batch here ({what}), and at most "
        f"{MOST_PASSES:,} are run",
        remedy,
    )

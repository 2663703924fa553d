"""One layer under capture: its running moments, and what becomes of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from condcli.capture.convolution import Convolution
from condcli.capture.linear_maps import Call, Dense
from condcli.capture.moments import Moment
from condcli.capture.per_example import GradientFactors, Gradients
from condcli.capture.weights import Use
from condcli.stats import FloatArray, LayerStats

NOT_ONE_ROW = "more than one row per example; --per-example all measures it"
NO_EXAMPLE_AXIS = "the layer's rows are not ordered by example"


class LayerCapture:
    """Running statistics of one block of weights, over every call that uses it."""

    def __init__(self, use: Use, call: Call, order: int, view: str, per_example: str) -> None:
        self.use = use
        self.kind = call.kind
        self.map: Dense | Convolution = call.map
        self.bias = call.bias
        self.order = order
        self.view = view
        self.per_example = per_example
        self.note = "switched off" if per_example == "none" else ""
        self.inputs = Moment()
        self.grads = Moment()
        self.calls = 0
        self.calls_with_grad = 0
        self.passes = 0
        self._calls_before = 0
        self._gradients: GradientFactors | Gradients | None = None

    def see_input(self, x: Tensor) -> None:
        """Take in the input of one call."""
        self.calls += 1
        for rows in self.map.input_rows(x.detach(), self.view):
            self.inputs.add(rows)

    @torch.no_grad()
    def see_grad(self, x: Tensor, grad: Tensor, examples: int) -> None:
        """Take in δ of one call, (…, d_out) or (N, C_out, …), beside the input it belongs to."""
        self.calls_with_grad += 1
        rows = self.map.output_rows(grad)
        self.grads.add(rows)
        if not self.note:
            self._see_example_gradients(x, rows, examples)

    def end_pass(self) -> None:
        """One batch went forward and backward."""
        self.passes += self.calls > self._calls_before
        self._calls_before = self.calls
        if isinstance(self._gradients, Gradients):
            self._gradients.end_batch()

    def _see_example_gradients(self, x: Tensor, grads: Tensor, examples: int) -> None:
        calls = self.calls - self._calls_before
        one_row = isinstance(self.map, Dense) and grads.shape[1] == examples and calls == 1
        if one_row:
            self._gradients = self._gradients or GradientFactors()
        elif self.per_example == "auto":
            self.note = NOT_ONE_ROW
        elif isinstance(self.map, Dense) and not self._leads_with_examples(x, examples):
            self.note = NO_EXAMPLE_AXIS
        else:
            self._gradients = self._gradients or Gradients()
        if self.note or isinstance(self._gradients, GradientFactors) != one_row:
            self.note, self._gradients = self.note or NOT_ONE_ROW, None
        elif isinstance(self._gradients, GradientFactors):
            self._gradients.add(x.reshape(examples, -1), grads[0])
        elif self._gradients is not None:
            self._gradients.add(self._example_gradients(x, grads, examples))

    def _leads_with_examples(self, x: Tensor, examples: int) -> bool:
        return x.shape[0] == examples and not isinstance(
            self.use.block.module, nn.MultiheadAttention
        )

    def _example_gradients(self, x: Tensor, grads: Tensor, examples: int) -> Tensor:
        """(N, d_out·d_in/G): each example's own ∂ℓ/∂W."""
        by_example: Tensor = grads.unflatten(1, (examples, -1))
        parts = []
        for n in range(examples):
            blocks = list(self.map.input_rows(x[n : n + 1], "patches"))
            patches = torch.cat(blocks, dim=1)
            parts.append((by_example[:, n].transpose(1, 2) @ patches).flatten())
        return torch.stack(parts)

    def missing(self) -> str:
        """Why the layer has no complete statistics; empty when it has."""
        if self.calls_with_grad == self.calls:
            return ""
        if not self.calls_with_grad:
            return "no gradient reached it: its output does not affect the loss, or ran in no_grad"
        return f"gradients reached only {self.calls_with_grad} of its {self.calls} calls"

    def stats(self, terms: int) -> LayerStats:
        """The finished statistics, once the parameter's ``grad`` is that of the summed loss."""
        parameter = self.use.block.parameter
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        weight = self.use.weight(parameter.detach()).cpu().double()
        weight_grad = self.use.weight(grad).cpu().double() / terms
        input_mean, grad_mean = self.inputs.mean().numpy(), self.grads.mean().numpy()
        return LayerStats(
            name=self.use.block.name,
            kind=self.kind,
            order=self.order,
            d_in=len(input_mean),
            d_out=len(grad_mean),
            groups=self.map.groups,
            kernel_size=self.map.kernel,
            rows=self.grads.rows,
            input_rows=self.inputs.rows,
            calls=round(self.calls / self.passes),
            positions=self.grads.rows / terms,
            bias=self.bias,
            weight_shape=tuple(weight.shape),
            input_moment=self.inputs.second().numpy(),
            input_mean=input_mean,
            grad_moment=self.grads.second().numpy(),
            grad_mean=grad_mean,
            weight_singular_values=self._singular_values(weight),
            weight_grad_singular_values=self._singular_values(weight_grad),
            weight_norm=float(weight.norm()),
            weight_grad_norm=float(weight_grad.norm()),
            weight_grad_moment_lambda_max=self._gradients.lambda_max() if self._gradients else None,
            weight_grad_moment_note=self.note,
        )

    def _singular_values(self, weight: Tensor) -> FloatArray:
        """Descending, the groups' pooled."""
        matrices = self.map.weight_matrix(weight)
        if matrices.shape[1] < matrices.shape[2]:
            matrices = matrices.transpose(1, 2)  # LAPACK is twice as fast on tall matrices
        values: FloatArray = torch.linalg.svdvals(matrices).flatten().numpy()
        return np.sort(values)[::-1]

"""One layer under capture: its running moments, and what becomes of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from condcli.capture.linear_maps import Call
from condcli.capture.moments import Moment, scaled
from condcli.capture.per_example import NO_EXAMPLE_AXIS, ExampleGradients
from condcli.capture.weights import Use
from condcli.stats import FloatArray, LayerStats


class LayerCapture:
    """Running statistics of one block of weights, over every call that uses it."""

    def __init__(
        self,
        use: Use,
        call: Call,
        *,
        order: int,
        view: str,
        per_example: str,
        example_first: bool,
    ) -> None:
        self.use = use
        self.kind = call.kind
        self.map = call.map
        self.bias = call.bias
        self.order = order
        self.inputs = Moment()
        self.grads = Moment()
        self.calls = 0
        self.calls_with_grad = 0
        self.passes = 0
        self._view = view
        self._calls_before = 0
        self._example_gradients = ExampleGradients(per_example)
        if not example_first:
            self._example_gradients.give_up(NO_EXAMPLE_AXIS)

    def see_input(self, call: Call) -> None:
        """Take in the input of one call."""
        self.calls += 1
        x, power = scaled(call.x.detach())
        for rows in call.map.input_rows(x, self._view):
            self.inputs.add(rows, power)

    @torch.no_grad()
    def see_grad(self, call: Call, grad: Tensor, examples: int) -> None:
        """Take in δ of one call, (…, d_out) or (N, C_out, …)."""
        self.calls_with_grad += 1
        small, power = scaled(grad)
        self.grads.add(call.map.output_rows(small), power)
        if not self._example_gradients.note:
            self._example_gradients.add(
                call.map,
                call.x.detach(),
                call.map.output_rows(grad),
                examples=examples,
                only_call=self.calls == self._calls_before + 1,
            )

    def end_pass(self) -> None:
        """One batch went forward and backward."""
        self.passes += self.calls > self._calls_before
        self._calls_before = self.calls
        self._example_gradients.end_batch()

    def missing(self) -> str:
        """Why the layer has no complete statistics; empty when it has."""
        if not self.inputs.rows:
            return "saw no rows"
        if self.calls_with_grad == self.calls:
            return ""
        if not self.calls_with_grad:
            return (
                "no gradient reached it: its output does not affect the loss, or it ran without "
                "gradients (torch.no_grad, activation checkpointing with use_reentrant=True)"
            )
        return f"gradients reached only {self.calls_with_grad} of its {self.calls} calls"

    def stats(self, *, examples: int, terms: int, other_use: str = "") -> LayerStats:
        """The finished statistics, once the parameter's ``grad`` is that of the summed loss.

        ``other_use`` names a function that used the weight and was not captured.
        """
        parameter = self.use.block.parameter
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        weight = self.use.weight(parameter.detach()).cpu().double()
        weight_grad = self.use.weight(grad).cpu().double() / terms
        if other_use:
            self._example_gradients.give_up(f"its weight is also used by {other_use}")
        lambda_max = self._example_gradients.lambda_max()
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
            # scaled so that the mean over examples of what it is the moment of is ∂L/∂W
            weight_grad_moment_lambda_max=lambda_max and lambda_max * (examples / terms) ** 2,
            weight_grad_moment_note=self._example_gradients.note,
        )

    def _singular_values(self, weight: Tensor) -> FloatArray:
        """Descending, the groups' pooled."""
        matrices = self.map.weight_matrix(weight)
        if matrices.shape[1] < matrices.shape[2]:
            matrices = matrices.transpose(1, 2)  # LAPACK is twice as fast on tall matrices
        values: FloatArray = torch.linalg.svdvals(matrices).flatten().numpy()
        return np.sort(values)[::-1]

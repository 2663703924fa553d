"""One layer under capture: its running moments, and what becomes of them."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from condcli.analysis.singular_values import singular_values_of_each
from condcli.capture.convolution import Convolution
from condcli.capture.finite import Faults, note_on
from condcli.capture.linear_maps import Call, Lookup
from condcli.capture.moments import Frequencies, Moment, moderated
from condcli.capture.options import Options
from condcli.capture.padding import blank
from condcli.capture.patch_moment import PatchMoment
from condcli.capture.per_example import NO_EXAMPLE_AXIS, ExampleGradients
from condcli.capture.ranks import Ranks
from condcli.capture.reduction import mean_inputs, summed_grads, without_rows
from condcli.capture.row_order import UNKNOWN
from condcli.capture.weights import Block, Piece, Use
from condcli.capture.wide_moment import WideMoment
from condcli.stats import NO_GRADIENT, PART_OF_GRADIENT, SAW_NO_ROWS, FloatArray, LayerStats

LOW_PRECISION = (torch.bfloat16, torch.float16)


class LayerCapture:
    """Running statistics of one block of weights, over every call that uses it."""

    def __init__(
        self,
        name: str,
        use: Use,
        call: Call,
        *,
        order: int,
        place: int,
        options: Options,
        example_first: bool,
        row_order: str = UNKNOWN,
        sketched: bool = False,
    ) -> None:
        """``sketched``: it will see more rows than are kept of wide ones."""
        self.name = name
        self.use = use
        self.kind = call.kind
        self.map = call.map
        self.bias = call.bias is not None
        self.order = order
        self.first_place = place  # of the batch that it first ran on
        self.inputs = _inputs_of(call, use, options, sketched)
        self.grads = _grads_of(call, use, options, sketched)
        self.calls = 0
        self.calls_with_grad = 0
        self.passes = 0
        self.faults: Faults = {}  # what is not finite, where that is allowed
        self.pieces: set[Piece] = set(use.block.pieces)  # of parameters: what it stands for
        self.held: Tensor | None = None  # a copy of its parameter, where training goes on
        self.row_order = row_order
        self._reduced = options.conv == "reduce" and not isinstance(call.map, Lookup)
        self._options = options
        self._calls_before = 0
        self._example_gradients = ExampleGradients(options.per_example)
        if not example_first:
            self._example_gradients.give_up(NO_EXAMPLE_AXIS)

    @property
    def stake(self) -> tuple[Block, set[Piece]]:
        """The layer's weight, and all that it stands for."""
        return self.use.block, self.pieces

    @property
    def parameter(self) -> Tensor:
        """The values of its weight, and the gradient: the network's own, or a copy of them."""
        return self.use.block.parameter if self.held is None else self.held

    def see_input(self, call: Call, real: Tensor | None, examples: int) -> None:
        """Take in the input of one call, of whose rows those not ``real`` do not count."""
        self.calls += 1
        if isinstance(self.inputs, Frequencies):
            self.inputs.add(call.x, real)
            return
        assert not isinstance(call.map, Lookup)
        x = _widened(call.x.detach())
        if isinstance(self.inputs, PatchMoment):
            assert isinstance(call.map, Convolution)
            self.inputs.add(call.map, *moderated(x), real)
        elif self._reduced:
            self.inputs.take(mean_inputs(call, x, real, examples, self.row_order))
        else:
            for rows in call.map.input_rows(x, self._options.conv, real):
                self.inputs.take(rows)
        self.inputs.leave_out(self._missing_rows(real, examples))

    @torch.no_grad()
    def see_grad(self, call: Call, grad: Tensor, real: Tensor | None, examples: int) -> None:
        """Take in δ of one call at the true labels, (…, d_out) or (N, C_out, …)."""
        grad = _widened(grad.detach())
        if self._options.fisher == "empirical":
            self._see_delta(call, grad, real, examples, counts=True)
        if not self._example_gradients.note:
            self._example_gradients.add(
                call.map,
                _widened(call.x.detach()),
                call.map.output_rows(grad),
                examples=examples,
                only_call=self.calls == self._calls_before + 1,
            )

    @torch.no_grad()
    def see_column(
        self, call: Call, grad: Tensor, real: Tensor | None, examples: int, *, counts: bool
    ) -> None:
        """Take in δ of one call for a column of the loss's curvature in the outputs.

        The first of all columns ``counts``: the same rows are seen again in the others.
        """
        self._see_delta(call, _widened(grad.detach()), real, examples, counts=counts)

    def _see_delta(
        self, call: Call, delta: Tensor, real: Tensor | None, examples: int, *, counts: bool
    ) -> None:
        self.calls_with_grad += counts
        delta = blank(delta, real, call.map.unit_axis)
        if self._reduced:
            rows = summed_grads(call, delta, examples, self.row_order)
        else:
            rows = call.map.output_rows(delta)
        self.grads.take(rows)
        self.grads.leave_out(self._missing_rows(real, examples) if counts else rows.shape[1])

    def _missing_rows(self, real: Tensor | None, examples: int) -> Tensor | int:
        """How many of a call's rows are none."""
        if real is None:
            return 0
        return without_rows(real, examples, self.row_order) if self._reduced else (~real).sum()

    def weight_is_finite(self) -> bool:
        """Whether the weight holds no NaN or infinity."""
        return bool(self.parameter.isfinite().all())

    def weight_grad_is_finite(self) -> bool:
        """Whether ∂L/∂W holds no NaN or infinity."""
        grad = self.parameter.grad
        # A sum is quicker, but may leave the range that the numbers are in.
        return grad is None or bool(grad.sum().isfinite()) or bool(grad.isfinite().all())

    def end_pass(self) -> None:
        """One batch went forward and backward."""
        self.passes += self.calls > self._calls_before
        self._calls_before = self.calls
        self._example_gradients.end_batch()

    def gather_examples(self, ranks: Ranks, device: torch.device) -> None:
        """Have the per-example gradients of all processes, in the first one."""
        self._example_gradients = self._example_gradients.gathered(ranks, device)

    def missing(self) -> str:
        """Why the layer has no complete statistics; empty when it has."""
        if not self.inputs.rows:
            return SAW_NO_ROWS
        if self.calls_with_grad == self.calls:
            return ""
        if not self.calls_with_grad:
            return (
                f"{NO_GRADIENT}: its output does not affect the loss, or it ran without "
                "gradients (torch.no_grad, activation checkpointing with use_reentrant=True)"
            )
        return f"{PART_OF_GRADIENT} {self.calls_with_grad} of its {self.calls} calls"

    def stats(
        self,
        *,
        examples: int,
        terms: int,
        parameters: int,
        other_use: str = "",
        mergeable: bool = False,
    ) -> LayerStats:
        """The finished statistics, once the parameter's ``grad`` is that of the summed loss.

        ``parameters`` are the numbers that the layer stands for; ``other_use`` names a function
        or another layer that used the weight, too; ``mergeable`` ones have what merging needs.
        """
        parameter = self.parameter
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        weight = self.use.weight(parameter.detach()).cpu().double()
        weight_grad = self.use.weight(grad).cpu().double() / terms
        if other_use:
            self._example_gradients.give_up(f"its weight is also used by {other_use}")
        if self.faults:
            self._example_gradients.give_up(f"not finite: {note_on(self.faults)}")
        lambda_max = self._example_gradients.lambda_max()
        singular_values, grad_singular_values = singular_values_of_each(
            {
                f"layer {self.name}: its weight": self.map.weight_matrix(weight).numpy(),
                f"layer {self.name}: ∂L/∂W": self.map.weight_matrix(weight_grad).numpy(),
            }
        )
        input_mean, grad_mean = self.inputs.mean().numpy(), self._grad_mean()
        return LayerStats(
            name=self.name,
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
            parameters=parameters,
            input_mean=input_mean,
            grad_mean=grad_mean,
            **_moment("input", self.inputs),
            **_moment("grad", self.grads),
            weight_singular_values=singular_values,
            weight_grad_singular_values=grad_singular_values,
            weight_norm=float(weight.norm()),
            weight_grad_norm=float(weight_grad.norm()),
            # scaled so that the mean over examples of what it is the moment of is ∂L/∂W
            weight_grad_moment_lambda_max=lambda_max and lambda_max * (examples / terms) ** 2,
            weight_grad_moment_note=self._example_gradients.note,
            nonfinite=note_on(self.faults),
            weight_grad=self._matrices(weight_grad) if mergeable else None,
            first_place=self.first_place if mergeable else None,
        )

    def _grad_mean(self) -> FloatArray:
        """Of all drawn labels, which come over the root of their number; of all labels it is 0."""
        weight = {"empirical": 1.0, "mc": self._options.mc_samples**-0.5, "exact": 0.0}
        mean: FloatArray = self.grads.mean().numpy() * weight[self._options.fisher]
        return mean

    def _matrices(self, weight: Tensor) -> FloatArray:
        """(d_out, …), or (G, d_out/G, …)."""
        matrices: FloatArray = self.map.weight_matrix(weight).numpy()
        return matrices[0] if self.map.groups == 1 else matrices


def _inputs_of(
    call: Call, use: Use, options: Options, sketched: bool
) -> Moment | PatchMoment | WideMoment | Frequencies:
    if isinstance(call.map, Lookup):
        return Frequencies(len(call.weight))
    features, places = _shape(call, use)[2], prod(call.map.kernel)
    if isinstance(call.map, Convolution) and options.conv == "patches":
        patch = (places, features // places)
        if features > options.max_dim:
            return WideMoment(options.max_dim, sketched=sketched, patch=patch)
        return PatchMoment(patch)
    size = features // places if options.conv == "channels" else features
    return WideMoment(options.max_dim, sketched=sketched) if size > options.max_dim else Moment()


def _grads_of(call: Call, use: Use, options: Options, sketched: bool) -> Moment | WideMoment:
    if _shape(call, use)[1] > options.max_dim:
        return WideMoment(options.max_dim, sketched=sketched)
    return Moment()


def _shape(call: Call, use: Use) -> tuple[int, ...]:
    """G, d_out/G, d_in/G."""
    return tuple(call.map.weight_matrix(use.weight(use.block.parameter)).shape)


def _moment(side: str, moment: Moment | PatchMoment | WideMoment | Frequencies) -> dict[str, Any]:
    """What `LayerStats` has of one side: the moment, or what stands for it."""
    if not isinstance(moment, WideMoment):
        return {f"{side}_moment": moment.second().numpy()}
    factor = moment.factor()
    return {
        f"{side}_moment": None,
        f"{side}_factor": factor.rows,
        f"{side}_error": factor.error,
        f"{side}_trace": factor.trace,
    }


def _widened(tensor: Tensor) -> Tensor:
    """Numbers of the lower precision that a layer ran in, as float32."""
    return tensor.float() if tensor.dtype in LOW_PRECISION else tensor

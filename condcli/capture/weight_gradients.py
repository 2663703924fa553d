"""Gradients of weights as they arrive: not yet added up, reduced, unscaled or clipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor

from condcli.capture.guard import Guard
from condcli.capture.weights import WeightIndex


class WeightGradients:
    """Those of the summed loss, summed over the batches of a step."""

    def __init__(
        self, weights: WeightIndex, guard: Guard, of_sum: Callable[[Tensor], Tensor]
    ) -> None:
        self._weights, self._guard, self._of_sum = weights, guard, of_sum
        self._sums: dict[int, Tensor] = {}  # by the parameters' ids

    @contextmanager
    def seen(self) -> Iterator[None]:
        """Take in what arrives within."""
        hooks = {
            key: parameter.register_hook(partial(self._see, key))
            for key, parameter in self._weights.parameters.items()
            if parameter.dim() > 1 and parameter.requires_grad
        }
        try:
            yield
        finally:
            for key, hook in hooks.items():
                hook.remove()
                parameter = self._weights.parameters[key]
                if not parameter._backward_hooks:
                    parameter._backward_hooks = None  # an empty dict would cost every later step

    def of(self, key: int) -> Tensor | None:
        """That of the parameter with this id; None where none came."""
        return self._sums.get(key)

    def are_finite(self) -> bool:
        """Whether none holds NaN or infinity."""
        return all(bool(grad.isfinite().all()) for grad in self._sums.values())

    def _see(self, key: int, grad: Tensor) -> None:
        if not self._guard.over:
            self._guard(self._add, key, grad, own_precision=True)

    def _add(self, key: int, grad: Tensor) -> None:
        of_sum = self._of_sum(grad.detach().to_dense())
        before = self._sums.get(key)
        self._sums[key] = of_sum if before is None else before.add_(of_sum)

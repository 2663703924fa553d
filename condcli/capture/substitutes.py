"""What runs in place of some torch functions: the same values, without what disturbs a probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from condcli.capture import convolved

Function = Callable[..., Any]


def _input(func: Function, *args: Any, **kwargs: Any) -> Any:
    """Dropout is off even where the network itself asks for training=True."""
    return args[0] if args else kwargs["input"]


def _plain_embedding(
    func: Function,
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """∂L/∂W itself, dense: ``scale_grad_by_freq`` and ``sparse`` are an optimizer's concern."""
    return func(weight, indices, padding_idx)


def _linear(func: Function, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """The same to rounding, by whichever way is quicker."""
    out = convolved.linear(input, weight, bias)
    return func(input, weight, bias) if out is None else out


SUBSTITUTES: dict[str, Function] = {
    **{
        f"{dropout}{in_place}": _input
        for dropout in ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")
        for in_place in ("", "_")
    },
    "embedding": _plain_embedding,
    "linear": _linear,
}

"""Names and shapes: all that is needed to tell one network from another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Shapes = Mapping[str, tuple[int, ...]]

# BN's counter of batches, which checkpoints before torch 0.4.1 lack; and what a module keeps beside
# its tensors. Networks load without.
_OPTIONAL = ("num_batches_tracked", "_extra_state")


def shapes_of(state_dict: Mapping[str, Tensor]) -> Shapes:
    """The shape of each tensor that a network must have."""
    return {
        name: tuple(tensor.shape) for name, tensor in state_dict.items() if not is_optional(name)
    }


def is_optional(name: str) -> bool:
    """Whether a network loads without the entry of this name in its state_dict."""
    return name.endswith(_OPTIONAL)


def shapes_built(build: Callable[[], nn.Module]) -> Shapes:
    """The shapes of the network that `build` returns."""
    return shapes_of(built_weightless(build).state_dict())


def built_weightless(build: Callable[[], nn.Module]) -> nn.Module:
    """The network that `build` returns, without memory for its weights and without drawing them."""
    with warnings.catch_warnings(), _WeightlessMode():
        warnings.simplefilter("ignore")
        return build()


class _WeightlessMode(TorchFunctionMode):
    """Weights are made on the meta device, and not initialised.

    Unlike under `torch.device("meta")`, small tensors made by arange, linspace and tensor are real:
    torchvision's RegNet and others compute their sizes with them.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones) and kwargs.get("device") is None:
            return func(*args, **kwargs | {"device": "meta"})
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)

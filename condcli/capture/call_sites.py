"""Where in the network a call is made: the module that runs, names, the axis of the units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)


class CallSites:
    """Follows a forward pass through the modules, and gives names to what happens there."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._paths: dict[int, str] = {id(module): path for path, module in model.named_modules()}
        self._running: list[nn.Module] = []
        self._calls: Counter[str] = Counter()
        self.layers: dict[tuple[Any, ...], str] = {}  # their names
        self._taken: set[str] = set()  # the same
        self._unit_axes: dict[tuple[int, ...], int] = {}

    @property
    def module(self) -> nn.Module:
        """The innermost module that runs."""
        return self._running[-1] if self._running else self._model

    def enter(self, module: nn.Module) -> None:
        """A module runs that began before it could be followed."""
        self._running.append(module)

    def is_running(self, module: nn.Module) -> bool:
        """Whether the call was made within this module."""
        return module in self._running

    def is_inside(self) -> bool:
        """Whether the call was made within any module of the network."""
        return any(id(module) in self._paths for module in self._running)

    @property
    def path(self) -> str:
        """Its path."""
        return self._paths.get(id(self.module), "")

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow one forward pass."""
        self._running.clear()
        self._calls.clear()
        self._unit_axes.clear()
        hooks = (
            register_module_forward_pre_hook(lambda module, args: self._running.append(module)),
            register_module_forward_hook(lambda *_: self._leave(), always_call=True),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def activation(self, function: str) -> str:
        """PATH for an activation module, PATH/function within another; ``:2`` … for later calls."""
        module, path = self.module, self.path
        # Lazily: a network that loops over ten thousand layers itself has all their parameters.
        is_activation = not any(True for _ in chain(module.children(), module.parameters()))
        site = path if is_activation and path else f"{path}/{function}".lstrip("/")
        self._calls[site] += 1
        return site if self._calls[site] == 1 else f"{site}:{self._calls[site]}"

    def layer(self, key: tuple[Any, ...], name: str, kind: str) -> str:
        """The name of the layer with this key: ``name`` itself, or NAME/kind if that is taken."""
        if key not in self.layers:
            second = f"{name}/{kind}"
            candidates = chain([name, second], (f"{second}:{number}" for number in count(2)))
            if len(self._taken) < len(self.layers):  # restored from a saved state
                self._taken = set(self.layers.values())
            self.layers[key] = next(found for found in candidates if found not in self._taken)
            self._taken.add(self.layers[key])
        return self.layers[key]

    def see_units(self, out: Tensor, axis: int) -> None:
        """A linear map has put its units along this axis of its output."""
        shape = tuple(out.shape)
        self._unit_axes.pop(shape, None)  # the latest comes last
        self._unit_axes[shape] = axis

    def unit_axis(self, out: Tensor) -> int:
        """Where the units are: the channels of what a convolution made, else the last axis.

        Normalisation and residual sums keep the shape, so the last linear map of the same shape,
        or else of the same number of dimensions, tells.
        """
        shape = tuple(out.shape)
        if shape in self._unit_axes:
            return self._unit_axes[shape]
        alike = [axis for seen, axis in self._unit_axes.items() if len(seen) == len(shape)]
        return alike[-1] if alike else -1

    def _leave(self) -> None:
        if self._running:
            self._running.pop()

"""The one place that sees the network run: a torch function mode around the forward pass.

It sees every linear map and activation function wherever it is called: from modules, from
functional code, inside ``nn.MultiheadAttention``. Σ_x is summed at once; a tensor hook on the
output sums Σ_∇h during the backward pass, which runs outside the mode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from condcli.capture.activations import ActivationCount, activation_name
from condcli.capture.layer import LayerCapture
from condcli.capture.linear_maps import LINEAR_MAPS, Call, without_own_padding
from condcli.capture.options import Options
from condcli.capture.weights import Use, WeightIndex

DROPOUTS = {"dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"}


class Capture(TorchFunctionMode):
    """Statistics of every wanted layer and of every activation call site, as they run."""

    def __init__(self, model: nn.Module, options: Options, *, trusted: Container[str] = ()) -> None:
        super().__init__()
        self.options = options
        self.weights = WeightIndex(model)
        self.layers: dict[str, LayerCapture] = {}
        self.activations: dict[str, ActivationCount] = {}
        self.unfollowed: dict[str, str] = {}  # layer → the function that used its weight
        self.examples = 0  # of the batch that runs
        self._trusted = trusted  # layers whose input's first axis is the examples'
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._running: list[nn.Module] = []
        self._sites: Counter[str] = Counter()
        self._unit_axes: dict[tuple[int, ...], int] = {}

    @contextmanager
    def forward_pass(self, examples: int) -> Iterator[None]:
        """Capture one forward pass over a batch of ``examples``."""
        self.examples = examples
        self._running.clear()
        self._sites.clear()
        self._unit_axes.clear()
        with ExitStack() as stack:
            for hook in (
                register_module_forward_pre_hook(lambda module, args: self._running.append(module)),
                register_module_forward_hook(lambda *_: self._leave_module(), always_call=True),
            ):
                stack.callback(hook.remove)
            stack.enter_context(_composites_opened())
            stack.enter_context(self)
            yield

    def end_pass(self) -> None:
        """The backward pass of this batch is done."""
        for layer in self.layers.values():
            layer.end_pass()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the call; take what it tells."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").partition(".")[0]  # linear.default in exported code
        if name.rstrip("_") in DROPOUTS:
            # Off even where the network itself asks for training=True.
            return args[0] if args else kwargs["input"]
        out = func(*args, **kwargs)
        if name in LINEAR_MAPS and isinstance(out, Tensor):
            call = LINEAR_MAPS[name](*args, **kwargs)
            uses = self.weights.uses(call.weight) if call else []
            if call and uses:
                self._see_linear_map(call, uses, out)
                return out
        elif activation := activation_name(name, args, kwargs):
            self._see_activation(activation, out)
            return out
        self._see_other(name, args, out)
        return out

    def _see_linear_map(self, call: Call, uses: list[Use], out: Tensor) -> None:
        self._unit_axes.pop(tuple(out.shape), None)  # the latest comes last
        self._unit_axes[tuple(out.shape)] = -1 if call.kind == "linear" else 1
        if self._running and self._running[-1] is uses[0].block.module:
            call = without_own_padding(call, self._running[-1])
        for use in uses:
            if self.options.wants(use.block.name):
                self._see_use(call, use, out)

    def _see_use(self, call: Call, use: Use, out: Tensor) -> None:
        name = use.block.name
        if name not in self.layers:
            self.layers[name] = LayerCapture(
                use,
                call,
                order=len(self.layers),
                view=self.options.conv,
                per_example=self.options.per_example,
                example_first=name in self._trusted,
            )
        if self.layers[name].use.transposed != use.transposed:
            self.unfollowed.setdefault(name, "a map with the transposed weight")
            return
        layer, examples, shape = self.layers[name], self.examples, out.shape
        layer.see_input(call)
        if out.requires_grad:
            # An in-place function after a view replaces the view's history, and a hook on the
            # view is lost with it (pytorch#181832); its base keeps both.
            target = out._base if out._is_view() and out._base is not None else out
            target.register_hook(
                lambda grad: layer.see_grad(call, grad.reshape(shape)[..., use.outputs], examples)
            )

    def _see_activation(self, function: str, out: Tensor) -> None:
        name = self._call_site(function)
        if name not in self.activations:
            axis = self._unit_axis(out)
            self.activations[name] = ActivationCount(function, len(self.activations), axis)
        self.activations[name].add(out)

    def _see_other(self, name: str, args: tuple[Any, ...], out: Any) -> None:
        """Note which function, views apart, used a weight other than as a followed linear map."""
        result = out[0] if isinstance(out, tuple) and out else out
        if not isinstance(result, Tensor):
            return
        storage = result.untyped_storage().data_ptr()
        for arg in args:
            for tensor in arg if isinstance(arg, (list, tuple)) else (arg,):
                for block in self.weights.parameter_blocks(tensor):
                    if block.parameter.untyped_storage().data_ptr() != storage:  # else a view
                        self.unfollowed.setdefault(block.name, name)

    def _call_site(self, function: str) -> str:
        """PATH for an activation module, PATH/function within another; ``:2`` … for later calls."""
        module = self._running[-1] if self._running else None
        path = self._paths.get(id(module), "")
        is_activation = module is not None and not list(module.children()) + list(
            module.parameters()
        )
        site = path if is_activation and path else f"{path}/{function}".lstrip("/")
        self._sites[site] += 1
        return site if self._sites[site] == 1 else f"{site}:{self._sites[site]}"

    def _unit_axis(self, out: Tensor) -> int:
        """Where the units are: dimension 1 of what a convolution made, else the last one.

        Normalisation and residual sums keep the shape, so the last linear map of the same shape,
        or else of the same number of dimensions, tells.
        """
        shape = tuple(out.shape)
        if shape in self._unit_axes:
            return self._unit_axes[shape]
        alike = [axis for seen, axis in self._unit_axes.items() if len(seen) == len(shape)]
        return alike[-1] if alike else -1

    def _leave_module(self) -> None:
        if self._running:
            self._running.pop()


@contextmanager
def _composites_opened() -> Iterator[None]:
    """Make ``torch.nn.functional`` run its Python bodies under a mode.

    Composites such as ``multi_head_attention_forward`` hand themselves whole to an active mode.
    Told that none is active, they run, and the mode sees the linear maps that they call.
    """
    names = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    kept = {name: getattr(F, name) for name in names}
    for name in names:
        setattr(F, name, lambda *tensors: False)
    try:
        yield
    finally:
        for name in names:
            setattr(F, name, kept[name])

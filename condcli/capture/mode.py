"""The one place that sees the network run: a torch function mode around the forward pass.

It sees every linear map and activation function wherever it is called: from modules, from
functional code, inside ``nn.MultiheadAttention``. Σ_x is summed at once; a tensor hook on the
output sums Σ_∇h during the backward pass, which runs outside the mode.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils.parametrize import ParametrizationList
from torch.overrides import TorchFunctionMode

from condcli.capture.activations import ActivationCount, activation_name
from condcli.capture.call_sites import CallSites
from condcli.capture.computed import ComputedWeights
from condcli.capture.convolution import Convolution
from condcli.capture.embedding_bag import embedding_bag
from condcli.capture.layer import LOW_PRECISION, LayerCapture
from condcli.capture.linear_maps import LINEAR_MAPS, PRODUCTS, Call, Lookup, without_own_padding
from condcli.capture.options import Options
from condcli.capture.origins import Origins, tensors_in
from condcli.capture.padding import Padding, row_axes
from condcli.capture.recurrent import CELLS, LAYERS, run_cell, run_layers
from condcli.capture.row_order import TIME_FIRST, UNKNOWN, fits
from condcli.capture.substitutes import SUBSTITUTES
from condcli.capture.weights import Block, Key, Piece, Use, WeightIndex, piece_of, uses, whole

UNROLLED = {"embedding_bag", *LAYERS, *CELLS}
NO_ORDER = "its rows are not ordered by example, so that --conv reduce cannot take them together"

# The layer, the call, its gradient, which of its rows are real (None: all), and the examples.
TakeGrad = Callable[[LayerCapture, Call, Tensor, Tensor | None, int], None]


class Capture(TorchFunctionMode):
    """Statistics of every wanted layer and of every activation call site, as they run."""

    def __init__(
        self,
        model: nn.Module,
        options: Options,
        *,
        trusted: Container[str] = (),
        shared: Container[str] = (),
        orders: Mapping[str, str] | None = None,
        sketched: Container[str] = (),
    ) -> None:
        super().__init__()
        self.options = options
        self.weights = WeightIndex(model)
        self.computed = ComputedWeights(model, self.weights)
        self.layers: dict[str, LayerCapture] = {}
        self.left_out: dict[str, tuple[Block, set[Piece], str]] = {}  # its stake, and why
        self.activations: dict[str, ActivationCount] = {}
        self.users: dict[Key, dict[str, None]] = {}  # block → functions and layers that used it
        self.examples = 0  # of the batch that runs
        self.place = 0  # of its first example
        self.sites = CallSites(model)
        self._model = model
        self._trusted = trusted  # layers whose input's first axis is the examples'
        self._shared = shared  # layers that have the same rows whatever the examples
        self._orders = orders or {}  # how the rows of each layer run
        self._sketched = sketched  # layers that will see more rows than are kept of wide ones
        self._latest_time_first = False  # whether the layer that ran last is one
        self._origins = Origins(self.weights.parameters)
        self._padding: Padding | None = None
        self.held: dict[int, Tensor] = {}  # copies of parameters by their ids, with gradients
        self.outputs: dict[GradientEdge, None] = {}  # of the layers, in the graph of the batch
        self.columns = 1  # gradients of each row that the batch gave
        self.take_grad: TakeGrad = LayerCapture.see_grad  # what the backward pass that runs is for

    @contextmanager
    def forward_pass(
        self, examples: int, real: Tensor | None = None, *, place: int = 0
    ) -> Iterator[None]:
        """Capture one forward pass over a batch of ``examples``, the first in this place.

        ``real`` tells the tokens from the padding, (N, T) bool, where there is some.
        """
        self.examples, self.place = examples, place
        self._padding = None if real is None else Padding(real)
        self._origins.restart(self._model.buffers())
        self.computed.restart()
        with ExitStack() as stack:
            stack.enter_context(self.sites.followed())
            hook = register_module_forward_hook(lambda module, _, out: self._see_made(module, out))
            stack.callback(hook.remove)
            stack.enter_context(_composites_opened())
            stack.enter_context(self)
            yield
        self._origins.restart([])
        self.computed.restart()

    @contextmanager
    def taking(self, take_grad: TakeGrad) -> Iterator[None]:
        """Inside, backward passes are for this."""
        self.take_grad = take_grad
        try:
            yield
        finally:
            self.take_grad = LayerCapture.see_grad

    def end_pass(self) -> None:
        """The backward passes of this batch are done."""
        self.outputs.clear()
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
        if name in UNROLLED and not kwargs:
            out = self._unrolled(name, args)
            if out is not NotImplemented:
                return out
        if name == "embedding_renorm_":  # max_norm
            args = (self._in_a_copy(args[0]), *args[1:])
        out = (
            SUBSTITUTES[name](func, *args, **kwargs)
            if name in SUBSTITUTES
            else func(*args, **kwargs)
        )
        if isinstance(out, Tensor | tuple | list) or name == "__setitem__":
            self._see_call(name, args, kwargs, out)
        return out

    def _in_a_copy(self, weight: Tensor) -> Tensor:
        """Let a parameter that the network changes be a copy, which goes when the probe ends."""
        for key in self._origins.of(weight) or ():
            parameter = self.weights.parameters[key]
            if parameter.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr():
                parameter.data = parameter.data.clone()
                return parameter.data
        return weight

    def _unrolled(self, name: str, args: tuple[Any, ...]) -> Any:
        """What the function returns, from linear maps that can be seen."""
        if name == "embedding_bag":
            out = embedding_bag(self.see_linear_map, *args)
        else:
            run = run_cell if name in CELLS else run_layers
            out = run(name, self.see_linear_map, self._count_gate, *args)
        if out is not NotImplemented:
            self._note_users(name, args, only_new=True)  # initial states, weights of samples
        return out

    def _see_call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        origin = self._origins.see_call(name, args, kwargs, out)
        if name in LINEAR_MAPS and isinstance(out, Tensor):
            call = LINEAR_MAPS[name](*args, **kwargs)
            # A product that no data go into is a weight in the making, not a map of rows.
            making = origin is not None and name in PRODUCTS
            if call and not making and self.see_linear_map(call, out):
                return
        elif origin is None and (activation := activation_name(name, args, kwargs)):
            site, axis = self.sites.activation(activation), self.sites.unit_axis(out)
            self._count(site, activation, out, axis)
            return
        if origin is None:
            self._note_users(name, args)

    def see_linear_map(self, call: Call, out: Tensor) -> bool:
        """Take in a linear map that has run; whether its weight is one that is followed."""
        if call.x.is_complex() or call.weight.is_complex():
            return False
        found = self._uses(call.weight)
        if not found:
            return False
        self.sites.see_units(out, call.map.unit_axis)
        if self.sites.module is found[0].block.module:
            call = without_own_padding(call, self.sites.module)
        for use in found:
            turned = Use(use.block, use.outputs, use.transposed != call.transposed)
            if turned.transposed and len(found) > 1:
                return False
            self._see_named(call, turned, out)
        return True

    def _uses(self, operand: Tensor) -> list[Use]:
        """What a linear map's operand is of the model's weights, given or computed."""
        parameter = self.weights.parameter_of(operand)
        blocks = [] if parameter is None else self.weights.blocks_of(id(parameter))
        if parameter is not None and blocks:
            found = uses(blocks, parameter, operand)
        else:
            matrix, blocks = self.computed.find(operand) or (operand, [])
            found = uses(blocks, matrix, operand) if blocks else []
        origin = None if found else self._origins.of(operand)
        if origin and operand.dim() >= 2:
            made = self.computed.see_operand(operand, origin, self.sites.module)
            return uses(made, operand, operand)
        return found

    def _see_named(self, call: Call, use: Use, out: Tensor) -> None:
        """Find the layer's name; note for what it is used, and see it if it is wanted."""
        block, kind = use.block, call.kind
        key = (block.key, kind, call.map.groups, use.transposed)
        own = self.weights.lookup_name(block) if isinstance(call.map, Lookup) else block.name
        name = self.sites.layer(key, own, kind)
        for part in self._parts(block):
            self.users.setdefault(part.key, {})[name] = None
        if why := self._left_out(name, block, call, out):
            _, pieces, _ = self.left_out.setdefault(name, (block, set(block.pieces), why))
            pieces |= self._bias_pieces(call.bias, use)
        else:
            self._see_use(name, call, use, out)

    def _left_out(self, name: str, block: Block, call: Call, out: Tensor) -> str:
        """Why a layer is not measured; empty when it is."""
        if not self.options.wants(name):
            return "left out by --layers or --exclude"
        if self._is_shared(name, call, out):
            return (
                "its input is the same for all examples of a batch, so that no example's own "
                "gradient reaches it"
            )
        if self.options.conv == "reduce" and self._order(name, call, out) == UNKNOWN:
            return "" if isinstance(call.map, Lookup) else NO_ORDER
        return ""

    def _order(self, name: str, call: Call, out: Tensor) -> str:
        """How the rows of a layer run."""
        order = self._orders.get(name, UNKNOWN)
        known = fits(order, row_axes(out.shape, call.map.unit_axis), self.examples)
        return order if known else UNKNOWN

    def _is_shared(self, name: str, call: Call, out: Tensor) -> bool:
        """Whether a layer has the same rows whatever the examples."""
        return name in self._shared

    def same_for_all(self, call: Call, out: Tensor) -> bool:
        """Whether the input was made without data, and the output has no axis for the examples."""
        axes = row_axes(out.shape, call.map.unit_axis)
        return self._origins.of(call.x) is not None and self.examples not in axes

    def _see_use(self, name: str, call: Call, use: Use, out: Tensor) -> None:
        if name not in self.layers:
            self.layers[name] = LayerCapture(
                name,
                use,
                call,
                order=len(self.layers),
                place=self.place,
                options=self.options,
                example_first=self._is_example_first(name, call),
                row_order=self._order(name, call, out),
                sketched=name in self._sketched,
            )
        if out.dtype in LOW_PRECISION and call.x.is_floating_point():
            call = replace(call, x=call.x.to(out.dtype))  # as autocast rounds what it is given
        layer, examples, shape = self.layers[name], self.examples, out.shape
        layer.pieces |= self._bias_pieces(call.bias, use)
        real = self._real_rows(name, call, out)
        with self._own_precision():
            layer.see_input(call, real, examples)
        if out.requires_grad:
            # An in-place function after a view replaces the view's history, and a hook on the
            # view is lost with it (pytorch#181832); its base keeps both.
            target = out._base if out._is_view() and out._base is not None else out
            if self.options.fisher != "empirical":
                self.outputs[get_gradient_edge(target)] = None

            def see(grad: Tensor) -> None:
                self._see_grad(layer, call, grad.reshape(shape)[..., use.outputs], real, examples)
                if self.take_grad is LayerCapture.see_grad:  # the last backward pass of the batch
                    handle.remove()  # what it needs of the call is not needed any more

            handle = target.register_hook(see)

    def _see_grad(
        self, layer: LayerCapture, call: Call, grad: Tensor, real: Tensor | None, examples: int
    ) -> None:
        self.take_grad(layer, call, grad, real, examples)

    def _is_example_first(self, name: str, call: Call) -> bool:
        """Whether the first axis of a layer's input is the examples'."""
        return name in self._trusted

    def _parts(self, block: Block) -> Iterator[Block]:
        """The block, and those of the parameters that it is computed from."""
        yield block
        for piece in block.pieces:
            if piece.parameter != id(block.parameter):
                yield from self.weights.blocks_of(piece.parameter)

    def _real_rows(self, name: str, call: Call, out: Tensor) -> Tensor | None:
        """Which of a call's rows count; None: all of them."""
        self._latest_time_first = self._order(name, call, out) == TIME_FIRST
        first = self._is_example_first(name, call)
        real = self._real_tokens(out, call.map.unit_axis, example_first=first)
        if isinstance(call.map, Convolution) and out.shape[2:] != call.x.shape[2:]:
            return None  # strided: its rows are not the tokens
        if isinstance(call.map, Lookup) and call.map.ignored >= 0:
            trained = call.x != call.map.ignored
            real = trained if real is None else real & trained
        return real

    def _real_tokens(self, out: Tensor, unit_axis: int, *, example_first: bool) -> Tensor | None:
        if self._padding is None:
            return None
        return self._padding.rows(
            row_axes(out.shape, unit_axis),
            # whatever its own inputs look like, it runs on (T, N, d)
            time_first=self._latest_time_first
            or isinstance(self.sites.module, nn.MultiheadAttention),
            example_first=example_first,
        )

    def _bias_pieces(self, bias: Tensor | None, use: Use) -> set[Piece]:
        origin = None if bias is None else self._origins.of(bias)
        if bias is None or not origin:
            return set()
        parameter = self.weights.parameter_of(bias)
        if parameter is None:
            return {whole(self.weights.parameters[key]) for key in origin}
        own = bias if use.outputs == slice(None) else bias[use.outputs]
        return {piece_of(own, parameter)}

    def _count_gate(self, gate: str, function: str, out: Tensor) -> None:
        """Count a recurrent layer's gate, under one name for all calls."""
        self._count(f"{self.sites.path}/{gate}".lstrip("/"), function, out, -1)

    def _count(self, name: str, function: str, out: Tensor, axis: int) -> None:
        if name not in self.activations:
            self.activations[name] = ActivationCount(
                function, len(self.activations), axis, place=self.place
            )
        axis = self.activations[name].unit_axis
        with self._own_precision():
            self.activations[name].add(out, self._real_tokens(out, axis, example_first=True))

    def _own_precision(self) -> AbstractContextManager[None]:
        """Sums are not the network's: they are not in the precision that it runs in."""
        kind = self.options.device.type
        if not torch.is_autocast_enabled(kind):
            return nullcontext()
        return torch.autocast(kind, enabled=False)

    def _see_made(self, module: nn.Module, out: Any) -> None:
        """A registered parametrization has computed a weight."""
        if isinstance(module, ParametrizationList) and isinstance(out, Tensor) and out.dim() >= 2:
            origin = self._origins.of(out)
            if origin and self.weights.parameter_of(out) is None:
                self.computed.see_parametrized(module, out, origin)

    def _note_users(self, function: str, args: tuple[Any, ...], *, only_new: bool = False) -> None:
        """A function, with data among its arguments, has used weights other than as linear maps.

        ``only_new``: it has used some as linear maps, and those are known.
        """
        for tensor in tensors_in(args):
            _, blocks = self.computed.find(tensor) or (tensor, [])
            for parameter in self._origins.of(tensor) or ():
                blocks = blocks + self.weights.blocks_of(parameter)
            for block in blocks:
                users = self.users.setdefault(block.key, {})
                if not (users and only_new):
                    users[function] = None


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

"""Weights that the forward pass computes: weight normalisation, pruning masks, merged adapters.

Such a weight is a tensor that no data went into. What it is computed from is known from
``Origins``; its values are kept in a leaf tensor, and so is the sum of its gradients over all calls
and batches: to the layer, that leaf is what a parameter is to other layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from condcli.capture.origins import Origin
from condcli.capture.weights import Block, Piece, WeightIndex, blocks_of, piece_of, whole


@dataclass(frozen=True)
class Making:
    """What tells computed weights apart: their name, where they are used and of what they are."""

    name: str
    module: int  # its id
    origin: Origin
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    place: int  # in the memory of what it is a view of


class ComputedWeights:
    """The computed weights of a model, by what they are computed from and where."""

    def __init__(self, model: nn.Module, weights: WeightIndex) -> None:
        self._weights = weights
        self._modules: dict[str, nn.Module] = dict(model.named_modules())
        self._paths: dict[int, str] = {id(module): path for path, module in self._modules.items()}
        self._blocks: dict[Making, list[Block]] = {}
        self._live: dict[int, tuple[Tensor, list[Block]]] = {}  # those of the pass that runs
        self.of_sum: Callable[[Tensor], Tensor] = lambda grad: grad  # to that of the summed loss
        self._spread: dict[int, Tensor] = {}  # how far a weight's values differ between calls

    def restart(self) -> None:
        """A new forward pass begins."""
        self._live.clear()

    def find(self, tensor: Tensor) -> tuple[Tensor, list[Block]] | None:
        """The known computed weight that ``tensor`` is, or is a view of, and its blocks."""
        found = self._live.get(id(tensor))
        if found is None and tensor._base is not None:
            found = self._live.get(id(tensor._base))
        return found

    def see_parametrized(self, parametrization: nn.Module, tensor: Tensor, origin: Origin) -> None:
        """A registered parametrization, ``PATH.parametrizations.weight``, has made a weight."""
        path, _, attribute = self._paths[id(parametrization)].rpartition(".")
        owner = path.removesuffix("parametrizations").removesuffix(".")
        self._see(tensor, f"{owner}.{attribute}".lstrip("."), self._modules[owner], origin)

    def see_operand(self, operand: Tensor, origin: Origin, running: nn.Module) -> list[Block]:
        """A linear map in the module that runs has used a weight computed from parameters."""
        view = self._weights.parameter_of(operand)
        if view is not None:
            return self._see(operand, self._name_of_view(operand, view), running, origin)
        return self._see(operand, self._name(operand, origin, running), running, origin)

    def differ(self, block: Block) -> bool:
        """Whether the values of a computed weight were not the same in all calls."""
        spread = self._spread.get(id(block.parameter))
        if spread is None:
            return False
        eps = torch.finfo(block.parameter.dtype).eps
        return bool(spread > eps**0.5 * block.parameter.abs().max())

    def set_spread(self, block: Block, spread: Tensor) -> None:
        """Know that the values of a computed weight were as far apart as this."""
        self._spread[id(block.parameter)] = spread

    def spread(self, block: Block) -> Tensor:
        """How far the values of a computed weight were apart; zero for a parameter."""
        return self._spread.get(id(block.parameter), block.parameter.new_zeros(()))

    def blocks(self) -> Iterator[Block]:
        """Every block, in the order in which they were first computed."""
        for blocks in self._blocks.values():
            yield from blocks

    def made(self) -> Iterator[tuple[Making, Block]]:
        """Every computed weight, with the first of its blocks."""
        return ((making, blocks[0]) for making, blocks in self._blocks.items())

    def path(self, module: int) -> str:
        """The path of the module with this id; KeyError for one that is not the network's."""
        return self._paths[module]

    def module(self, path: str) -> nn.Module:
        """The module with this path."""
        return self._modules[path]

    def know(self, making: Making, leaf: Tensor, pieces: tuple[Piece, ...]) -> Block:
        """Have seen a computed weight, with ``leaf`` for its values and their gradient."""
        module = self._modules[self._paths[making.module]]
        self._blocks[making] = blocks_of(making.name, module, leaf, pieces)
        return self._blocks[making][0]

    def _see(self, tensor: Tensor, name: str, module: nn.Module, origin: Origin) -> list[Block]:
        place = (
            0 if tensor._base is None else int(tensor.storage_offset())
        )  # W[:, :4] is not W[:, 4:]
        key = Making(name, id(module), origin, tuple(tensor.shape), tensor.stride(), place)
        if key not in self._blocks:
            leaf = tensor.detach().clone(memory_format=torch.preserve_format)
            self._blocks[key] = blocks_of(name, module, leaf, self._pieces(tensor, origin))
        blocks = self._blocks[key]
        leaf = blocks[0].parameter
        self._note_spread(leaf, tensor.detach())
        self._live[id(tensor)] = (tensor, blocks)
        if tensor.requires_grad:
            tensor.register_hook(lambda grad: _accumulate(leaf, self.of_sum(grad)))
        return blocks

    def _note_spread(self, leaf: Tensor, values: Tensor) -> None:
        spread = (values - leaf).abs().max() if values.numel() else values.new_zeros(())
        before = self._spread.get(id(leaf))
        self._spread[id(leaf)] = spread if before is None else torch.maximum(before, spread)

    def _pieces(self, tensor: Tensor, origin: Origin) -> tuple[Piece, ...]:
        parameter = self._weights.parameter_of(tensor)
        if parameter is not None:
            return (piece_of(tensor, parameter),)
        return tuple(whole(self._weights.parameters[source]) for source in self._sources(origin))

    def _sources(self, origin: Origin) -> list[int]:
        """In the model's own order."""
        return sorted(origin, key=self._weights.place)

    def _name(self, operand: Tensor, origin: Origin, running: nn.Module) -> str:
        """A weight's name: the running module's attribute, that module, or the first source."""
        path = self._paths.get(id(running), "")
        for attribute, value in vars(running).items():
            if value is operand or (value is not None and value is operand._base):
                return f"{path}.{attribute}".lstrip(".")
        sources = self._sources(origin)
        if path and any(self._is_inside(source, path) for source in sources):
            return f"{path}.weight"
        name = self._weights.owner(sources[0])[0]
        owner, made, attribute = name.rpartition(".parametrizations.")  # of an exported program
        return f"{owner}.{attribute.partition('.')[0]}" if made else name

    def _is_inside(self, parameter: int, path: str) -> bool:
        return self._weights.owner(parameter)[0].startswith(f"{path}.")

    def _name_of_view(self, view: Tensor, parameter: nn.Parameter) -> str:
        """The parameter's name, and which run of its rows; of a stack, which matrix."""
        name = self._weights.owner(id(parameter))[0]
        piece = piece_of(view, parameter)
        if piece.stop - piece.start == parameter.shape[0]:
            return name
        one_of_many = parameter.dim() > 2 and piece.stop - piece.start == 1
        return f"{name}.{piece.start}" if one_of_many else f"{name}.{piece.start}-{piece.stop}"


def _accumulate(leaf: Tensor, grad: Tensor) -> None:
    leaf.grad = grad.detach().clone() if leaf.grad is None else leaf.grad + grad

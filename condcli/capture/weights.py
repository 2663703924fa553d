"""Which layer a weight belongs to: found by the parameter's identity, not by the module called."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Block:
    """One layer: rows ``start`` to ``stop`` of a matrix parameter, and the name it goes by.

    Nearly always the whole parameter; ``nn.MultiheadAttention`` stacks q, k and v in one.
    """

    name: str
    parameter: nn.Parameter
    module: nn.Module
    start: int
    stop: int


@dataclass(frozen=True)
class Use:
    """A block as one call uses it: its slice of the call's outputs, and which way round it is."""

    block: Block
    outputs: slice
    transposed: bool = False

    def weight(self, parameter: Tensor) -> Tensor:
        """The block of ``parameter`` (or of its gradient) in the layout that the call uses."""
        if self.transposed:
            return parameter.t()
        return parameter[self.block.start : self.block.stop]


class WeightIndex:
    """Every matrix parameter of a model, and the blocks it is made of."""

    def __init__(self, model: nn.Module) -> None:
        owners = defaultdict(list)
        for path, module in model.named_modules():
            for name, parameter in module.named_parameters(prefix=path, recurse=False):
                if parameter.dim() >= 2:
                    owners[id(parameter)].append((name, parameter, module))
        self._blocks = {key: _blocks_of(*_main_owner(found)) for key, found in owners.items()}

    def blocks(self) -> list[Block]:
        """Every block, in the model's own order."""
        return [block for blocks in self._blocks.values() for block in blocks]

    def parameter_blocks(self, tensor: Any) -> list[Block]:
        """The blocks of the parameter that ``tensor`` is, or is a view of; else none."""
        if not isinstance(tensor, Tensor):
            return []
        return self._blocks.get(id(tensor)) or self._blocks.get(id(tensor._base), [])

    def uses(self, weight: Tensor) -> list[Use]:
        """The blocks that a call's weight covers, in order; none when it is not followed.

        Followed are a parameter, a run of its rows, and the transpose of a whole matrix.
        """
        blocks = self.parameter_blocks(weight)
        if not blocks:
            return []
        parameter = blocks[0].parameter
        if len(blocks) == 1 and _is_transpose(weight, parameter):
            return [Use(blocks[0], slice(None), transposed=True)]
        start, stop = _row_range(weight, parameter)
        inside = [block for block in blocks if start <= block.start and block.stop <= stop]
        if sum(block.stop - block.start for block in inside) != stop - start:
            return []
        if len(inside) == 1:
            return [Use(inside[0], slice(None))]
        return [Use(b, slice(b.start - start, b.stop - start)) for b in inside]


def _is_transpose(weight: Tensor, parameter: Tensor) -> bool:
    return (
        weight.dim() == parameter.dim() == 2
        and weight is not parameter
        and weight.shape == parameter.shape[::-1]
        and weight.stride() == parameter.stride()[::-1]
    )


def _row_range(weight: Tensor, parameter: Tensor) -> tuple[int, int]:
    """First and past-the-last row of the parameter in the weight; (0, -1) if it is no such run."""
    if weight.stride() != parameter.stride() or weight.shape[1:] != parameter.shape[1:]:
        return 0, -1
    offset = int(weight.storage_offset()) - int(parameter.storage_offset())
    start, rest = divmod(offset, parameter.stride(0))
    return (0, -1) if rest else (start, start + weight.shape[0])


def _main_owner(
    owners: list[tuple[str, nn.Parameter, nn.Module]],
) -> tuple[str, nn.Parameter, nn.Module]:
    """Of tied weights the first that is not an embedding: that is the linear map's name."""
    return next((o for o in owners if not isinstance(o[2], nn.Embedding)), owners[0])


def _blocks_of(name: str, parameter: nn.Parameter, module: nn.Module) -> list[Block]:
    path, _, attribute = name.rpartition(".")
    prefix = f"{path}." if path else ""
    rows = parameter.shape[0]
    if isinstance(module, nn.MultiheadAttention):
        if attribute == "in_proj_weight":
            third = rows // 3
            return [
                Block(f"{prefix}{part}_proj", parameter, module, i * third, (i + 1) * third)
                for i, part in enumerate("qkv")
            ]
        return [Block(name.removesuffix("_weight"), parameter, module, 0, rows)]
    layer = path if attribute == "weight" and path else name
    return [Block(layer, parameter, module, 0, rows)]

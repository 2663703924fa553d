"""Which layer a weight belongs to: found by the parameter's identity, not by the module called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

Key = tuple[int, int]


@dataclass(frozen=True)
class Piece:
    """Rows ``start`` to ``stop`` of a parameter along its first axis; what a layer stands for."""

    parameter: int  # its id
    start: int
    stop: int


@dataclass(frozen=True)
class Block:
    """Rows ``start`` to ``stop`` of a matrix, and the name that they go by.

    Nearly always a whole parameter; ``nn.MultiheadAttention`` stacks q, k and v in one. A weight
    that the forward pass computes is a block as well; its ``parameter`` is then a leaf tensor with
    the computed values and their gradient, and ``pieces`` is what it is computed from.
    """

    name: str
    parameter: Tensor
    module: nn.Module
    start: int
    stop: int
    pieces: tuple[Piece, ...]

    @property
    def key(self) -> Key:
        """What tells blocks apart."""
        return id(self.parameter), self.start

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return (self.stop - self.start) * self.parameter[:1].numel()


@dataclass(frozen=True)
class Use:
    """A block as one call uses it: the call's outputs that are its, and which way round it is."""

    block: Block
    outputs: slice
    transposed: bool = False

    def weight(self, parameter: Tensor) -> Tensor:
        """The block of ``parameter`` (or of its gradient) in the layout that the call uses."""
        if self.transposed:
            return parameter.t()
        return parameter[self.block.start : self.block.stop]


class WeightIndex:
    """Every parameter of a model, each once, and the blocks that the matrices are made of."""

    def __init__(self, model: nn.Module) -> None:
        self.parameters = {id(p): p for p in model.parameters()}
        self._places = {key: place for place, key in enumerate(self.parameters)}
        self._owners: dict[int, list[tuple[str, nn.Module]]] = {key: [] for key in self.parameters}
        for path, module in model.named_modules():
            for name, parameter in module.named_parameters(prefix=path, recurse=False):
                self._owners[id(parameter)].append((name, module))
        self._blocks = {
            key: blocks_of(*self._main_owner(key), parameter)
            for key, parameter in self.parameters.items()
            if parameter.dim() >= 2
        }

    def place(self, parameter: int) -> int:
        """Where the parameter with this id is in the model's own order."""
        return self._places[parameter]

    def owner(self, parameter: int) -> tuple[str, nn.Module]:
        """Name of a parameter of the model, and the module that has it; the first of several."""
        return self._owners[parameter][0]

    def blocks(self) -> Iterator[Block]:
        """Every block, in the model's own order."""
        for blocks in self._blocks.values():
            yield from blocks

    def blocks_of(self, parameter: int) -> list[Block]:
        """The blocks of the parameter with this id; none of a vector."""
        return self._blocks.get(parameter, [])

    def parameter_of(self, tensor: Tensor) -> nn.Parameter | None:
        """The parameter that ``tensor`` is, or is a view of."""
        if tensor._base is not None:
            tensor = tensor._base
        return self.parameters.get(id(tensor))

    def lookup_name(self, block: Block) -> str:
        """What the block goes by as a table to look rows up in: an embedding's own name."""
        for name, module in self._owners.get(id(block.parameter), []):
            if _is_embedding(module):
                return layer_name(name)
        return block.name

    def _main_owner(self, key: int) -> tuple[str, nn.Module]:
        """Of tied weights the first that is not an embedding: that is the linear map's name."""
        owners = self._owners[key]
        return next((o for o in owners if not _is_embedding(o[1])), owners[0])


def uses(blocks: list[Block], matrix: Tensor, operand: Tensor) -> list[Use]:
    """The blocks of a matrix that a call's operand covers, in order; none if it is no such part.

    Followed are the matrix itself, a run of its rows, and the transpose of a whole one.
    """
    if len(blocks) == 1 and _is_transpose(operand, matrix):
        return [Use(blocks[0], slice(None), transposed=True)]
    start, stop = row_range(operand, matrix)
    inside = [block for block in blocks if start <= block.start and block.stop <= stop]
    if sum(block.stop - block.start for block in inside) != stop - start:
        return []
    if len(inside) == 1:
        return [Use(inside[0], slice(None))]
    return [Use(b, slice(b.start - start, b.stop - start)) for b in inside]


def row_range(part: Tensor, whole: Tensor) -> tuple[int, int]:
    """First and past-the-last row of the whole in the part; (0, -1) if it is no run of rows."""
    if part.stride() != whole.stride() or part.shape[1:] != whole.shape[1:]:
        return 0, -1
    offset = int(part.storage_offset()) - int(whole.storage_offset())
    start, rest = divmod(offset, whole.stride(0) or 1)
    return (0, -1) if rest else (start, start + part.shape[0])


def piece_of(view: Tensor, parameter: nn.Parameter) -> Piece:
    """The rows of a parameter that a view of it consists of; the whole where it is no such run."""
    rows = parameter.shape[0] if parameter.dim() else 1
    width = parameter.numel() // rows if rows else 1
    start, rest = divmod(int(view.storage_offset()) - int(parameter.storage_offset()), width or 1)
    if rest or view.numel() % (width or 1) or not _is_run_of_rows(view, parameter, width):
        return Piece(id(parameter), 0, rows)
    return Piece(id(parameter), start, min(rows, start + view.numel() // width))


def _is_run_of_rows(view: Tensor, parameter: nn.Parameter, width: int) -> bool:
    """Whether both lie row after row: contiguous, or the same way inside each row."""
    if view.is_contiguous() and parameter.is_contiguous():
        return True
    alike = view.shape[1:] == parameter.shape[1:] and view.stride() == parameter.stride()
    return alike and parameter.dim() > 0 and parameter.stride(0) == width


def whole(parameter: nn.Parameter) -> Piece:
    """All of a parameter; a single number counts as one row."""
    return Piece(id(parameter), 0, parameter.shape[0] if parameter.dim() else 1)


def blocks_of(
    name: str,
    module: nn.Module,
    parameter: Tensor,
    sources: tuple[Piece, ...] = (),
) -> list[Block]:
    """The layers that one matrix of a module makes, by the matrix's full name."""
    path, _, attribute = name.rpartition(".")
    prefix = f"{path}." if path else ""
    rows = parameter.shape[0]

    def block(name: str, start: int, stop: int) -> Block:
        own = (Piece(id(parameter), start, stop),) if isinstance(parameter, nn.Parameter) else ()
        return Block(name, parameter, module, start, stop, sources or own)

    if isinstance(module, nn.MultiheadAttention):
        if attribute == "in_proj_weight":
            third = rows // 3
            return [
                block(f"{prefix}{part}_proj", i * third, (i + 1) * third)
                for i, part in enumerate("qkv")
            ]
        return [block(name.removesuffix("_weight"), 0, rows)]
    return [block(layer_name(name), 0, rows)]


def layer_name(name: str) -> str:
    """The name of the layer that a weight of this full name makes: its module's, if it may be."""
    return name.removesuffix(".weight")


def _is_embedding(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding | nn.EmbeddingBag)


def _is_transpose(weight: Tensor, parameter: Tensor) -> bool:
    return (
        weight.dim() == parameter.dim() == 2
        and weight.shape == parameter.shape[::-1]
        and weight.stride() == parameter.stride()[::-1]
        and (weight.shape != parameter.shape or weight.stride() != parameter.stride())
    )

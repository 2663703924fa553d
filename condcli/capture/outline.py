"""What a process tells others of its capture, in words that all understand: names and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from condcli.capture.convolution import Convolution
from condcli.capture.finite import Faults
from condcli.capture.layer import LayerCapture
from condcli.capture.linear_maps import Dense, Lookup
from condcli.capture.mode import Capture
from condcli.capture.weights import Block, Key, Piece

Place = tuple[int, int]  # of a block: its parameter's number in the model, and its first row
Run = tuple[int, int, int]  # of a piece: its parameter's number, first and past-the-last row


class Sums(Protocol):
    """What adds up over rows."""

    @property
    def rows(self) -> int:
        """How many there were."""

    def running_sums(self) -> list[Tensor]:
        """The sums; none without rows."""

    def replace(self, rows: int, sums: list[Tensor]) -> None:
        """Have these instead."""


@dataclass(frozen=True)
class SumsOutline:
    """How many rows there were, and what the sums over them look like."""

    rows: int
    forms: tuple[tuple[torch.Size, torch.dtype], ...]


@dataclass(frozen=True, kw_only=True)
class LayerOutline:
    """A layer that ran."""

    first: tuple[int, int]  # the place of the first batch, and the order among the layers
    block: Place | None  # None of a computed weight
    outputs: slice
    transposed: bool
    kind: str
    map: Dense | Convolution | Lookup
    bias: bool
    pieces: frozenset[Run]
    calls: tuple[int, int, int]  # all, those that a gradient reached, passes
    inputs: SumsOutline
    grads: SumsOutline
    faults: Faults


@dataclass(frozen=True, kw_only=True)
class ActivationOutline:
    """An activation that ran."""

    first: tuple[int, int]
    function: str
    unit_axis: int
    counts: SumsOutline


@dataclass(frozen=True, kw_only=True)
class Outline:
    """All that ran in one process; computed weights are told of only as layers."""

    layers: Mapping[str, LayerOutline]
    activations: Mapping[str, ActivationOutline]
    left_out: Mapping[str, tuple[Place, frozenset[Run], str]]
    users: Mapping[Place, Sequence[str]]


class Numbering:
    """The model's parameters by their numbers, which are the same in all processes."""

    def __init__(self, capture: Capture) -> None:
        self._weights = capture.weights
        self._keys = list(capture.weights.parameters)
        self._numbers = {key: number for number, key in enumerate(self._keys)}

    def place(self, key: Key) -> Place | None:
        """Of the block with this key; None of a computed weight."""
        number = self._numbers.get(key[0])
        return None if number is None else (number, key[1])

    def key(self, place: Place) -> Key:
        """The key of the block in a place."""
        return self._keys[place[0]], place[1]

    def block(self, place: Place) -> Block:
        """The block in a place."""
        blocks = self._weights.blocks_of(self._keys[place[0]])
        return next(block for block in blocks if block.start == place[1])

    def run(self, piece: Piece) -> Run:
        """A piece in words that all understand."""
        return self._numbers[piece.parameter], piece.start, piece.stop

    def piece(self, run: Run) -> Piece:
        """The piece that such words mean."""
        return Piece(self._keys[run[0]], *run[1:])


def outline(capture: Capture, numbering: Numbering) -> Outline:
    """What ran in this process."""
    return Outline(
        layers={name: _layer(layer, numbering) for name, layer in capture.layers.items()},
        activations={
            name: ActivationOutline(
                first=(count.first_place, count.order),
                function=count.function,
                unit_axis=count.unit_axis,
                counts=_sums(count),
            )
            for name, count in capture.activations.items()
        },
        left_out={
            name: (place, frozenset(map(numbering.run, pieces)), why)
            for name, (block, pieces, why) in capture.left_out.items()
            if (place := numbering.place(block.key))
        },
        users={
            place: list(users)
            for key, users in capture.users.items()
            if (place := numbering.place(key))
        },
    )


def _layer(layer: LayerCapture, numbering: Numbering) -> LayerOutline:
    return LayerOutline(
        first=(layer.first_place, layer.order),
        block=numbering.place(layer.use.block.key),
        outputs=layer.use.outputs,
        transposed=layer.use.transposed,
        kind=layer.kind,
        map=layer.map,
        bias=layer.bias,
        pieces=frozenset(map(numbering.run, layer.pieces)),
        calls=(layer.calls, layer.calls_with_grad, layer.passes),
        inputs=_sums(layer.inputs),
        grads=_sums(layer.grads),
        faults=layer.faults,
    )


def _sums(sums: Sums) -> SumsOutline:
    return SumsOutline(
        sums.rows, tuple((total.shape, total.dtype) for total in sums.running_sums())
    )

"""All that a capture, its totals and the network carry from one batch to the next.

Taken between two batches, and put back into the same network in another process, where the sums
go on as if nothing had happened: every number and every tensor's layout is as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from condcli.capture.computed import Making
from condcli.capture.mode import Capture
from condcli.capture.packing import Names, Packer, Unpacker, Unsavable, Word
from condcli.capture.totals import Totals

# What a capture knows between two batches; its other attributes are of a pass, or of the network.
CARRIED = ("layers", "left_out", "activations", "_latest_time_first")
TOLD = {"users", "computed", "sites"}  # carried, in words of their own
OF_A_PASS = {"examples", "place", "_origins", "_padding", "outputs", "columns", "take_grad"}
OF_THE_NETWORK = {
    *("options", "weights", "held", "_model", "_trusted", "_shared", "_orders", "_sketched")
}


def taken(
    capture: Capture, model: nn.Module, totals: Totals, weights: Sequence[int]
) -> tuple[Word, list[Tensor]]:
    """A word for everything, and the tensors that it counts; these are not copied.

    ``weights`` are the ``marks`` of the parameters before the first batch. Raises Unsavable.
    """
    names = Names(capture)
    packer = Packer(names)
    word = {
        "totals": packer.word(totals),
        "computed": _computed(capture, names, packer),
        "capture": {name: packer.word(getattr(capture, name)) for name in CARRIED},
        "users": [[names.block(key), list(users)] for key, users in capture.users.items()],
        "sites": [
            [names.block(key), *packer.word(rest)[1], name]
            for (key, *rest), name in capture.sites.layers.items()
        ],
        "parameters": [
            _parameter(parameter, mark, packer)
            for parameter, mark in zip(model.parameters(), weights, strict=True)
        ],
        "buffers": _buffers(model, packer),
    }
    return word, packer.tensors


def put_back(
    word: Mapping[str, Word], tensors: Sequence[Tensor], capture: Capture, model: nn.Module
) -> Totals:
    """The totals, after all else is what it was when the word was taken.

    Raises KeyError, IndexError, TypeError, ValueError or AttributeError where it is of another
    network.
    """
    _know_computed(word["computed"], tensors, capture)
    names = Names(capture)
    values = Unpacker(tensors, names)
    for name in CARRIED:
        setattr(capture, name, values.value(word["capture"][name]))
    capture.users = {names.blocks[n].key: dict.fromkeys(users) for n, users in word["users"]}
    capture.sites.layers = {
        (names.blocks[number].key, *rest): name for number, *rest, name in word["sites"]
    }
    for parameter, (data, grad) in zip(model.parameters(), word["parameters"], strict=True):
        if data is not None:
            parameter.data = values.value(data)
        parameter.grad = values.value(grad)
    _put_back_buffers(word["buffers"], model, values)
    totals = values.value(word["totals"])
    if not isinstance(totals, Totals):
        raise TypeError("totals")
    return totals


def marks(model: nn.Module) -> list[int]:
    """A number for the contents of each parameter: a network may change its own weights."""
    return [_mark(parameter) for parameter in model.parameters()]


def _mark(tensor: Tensor) -> int:
    numbers = tensor.detach().contiguous().flatten().view(torch.uint8)
    by_eight = len(numbers) % 8 == numbers.storage_offset() % 8 == 0
    words = numbers.view(torch.int64) if by_eight else numbers  # a sum of such is quick
    return int(words.sum(dtype=torch.int64))


def _parameter(parameter: Tensor, mark: int, packer: Packer) -> list[Word]:
    """The values where they are not those of the checkpoint, and the gradient."""
    changed = _mark(parameter) != mark
    return [packer.word(parameter.data) if changed else None, packer.word(parameter.grad)]


def _computed(capture: Capture, names: Names, packer: Packer) -> list[Word]:
    found = []
    for making, block in capture.computed.made():
        try:
            path = capture.computed.path(making.module)
        except KeyError:
            raise Unsavable(f"{making.name} is made by a module that the network lacks") from None
        origin = sorted(names.parameter(key) for key in making.origin)
        found.append(
            [
                [making.name, path, origin, list(making.shape), list(making.stride), making.place],
                packer.word(block.pieces),
                packer.word(block.parameter),
                packer.word(block.parameter.grad),
                packer.word(capture.computed.spread(block)),
            ]
        )
    return found


def _know_computed(words: Sequence[Any], tensors: Sequence[Tensor], capture: Capture) -> None:
    names, computed = Names(capture), capture.computed
    values = Unpacker(tensors, names)
    for (name, path, origin, shape, stride, place), pieces, leaf, grad, spread in words:
        making = Making(
            name,
            id(computed.module(path)),
            frozenset(names.id_of(number) for number in origin),
            tuple(shape),
            tuple(stride),
            place,
        )
        tensor = values.value(leaf)
        tensor.grad = values.value(grad)
        block = computed.know(making, tensor, values.value(pieces))
        computed.set_spread(block, values.value(spread))


def _buffers(model: nn.Module, packer: Packer) -> list[Word]:
    """Each buffer with all its names: module and name in it. None is one without a value."""
    found: dict[int, tuple[Tensor, list[list[str]]]] = {}
    for path, module in model.named_modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                found.setdefault(id(buffer), (buffer, []))[1].append([path, name])
    sharing = Counter(_memory(buffer) for buffer, _ in found.values() if buffer.numel())
    for buffer, names in found.values():
        name = ".".join(names[0]).lstrip(".")
        if buffer.grad_fn is not None:
            raise Unsavable(f"the buffer {name} holds on to the computation of its batch")
        if sharing[_memory(buffer)] > 1 or buffer._base is not None:
            raise Unsavable(f"the buffer {name} shares its memory with another tensor")
    return [[names, packer.word(buffer)] for buffer, names in found.values()]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _put_back_buffers(words: Sequence[Any], model: nn.Module, values: Unpacker) -> None:
    modules = dict(model.named_modules())
    for module in modules.values():
        module._buffers.update(dict.fromkeys(module._buffers))
    for names, word in words:
        buffer = values.value(word)
        for path, name in names:
            modules[path]._buffers[name] = buffer

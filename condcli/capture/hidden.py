"""What a network keeps from batch to batch outside its parameters and buffers.

A probe gives every module its attributes back after each batch; what they hold (a list that grows,
a tensor written in place, a generator of random numbers) it cannot. A run that changes such a thing
cannot be continued in another process, and is told by this.
"""

from __future__ import annotations

import random
from collections import ChainMap, deque
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

OF_TORCH = {"_parameters", "_buffers", "_modules"}  # kept in other ways
CODE = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type)
PLAIN = (bool, int, float, complex, str, bytes, type(None))
DEEPEST = 20

Seen = ChainMap[int, bool]  # of what has been looked at: a child for each attribute, never a copy


def hidden_state(model: nn.Module) -> dict[str, int]:
    """A number for the contents of every attribute of every module, by its full name."""
    things = (*model.modules(), *model.parameters(), *model.buffers())
    known = ChainMap(dict.fromkeys(map(id, things), True))
    return {
        f"{path}.{name}".lstrip("."): hash(_contents(value, known.new_child(), 0))
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if name not in OF_TORCH and type(value) not in PLAIN
    }


def _contents(value: Any, seen: Seen, depth: int) -> Any:
    """Something hashable that is equal for equal contents; of opaque things only the type."""
    if type(value) in PLAIN or isinstance(value, CODE):
        return value if type(value) in PLAIN else type(value).__name__
    if id(value) in seen or depth > DEEPEST:
        return "seen"
    seen[id(value)] = True
    if isinstance(value, Tensor):
        dense = value.layout is torch.strided and not value.is_meta
        return value.shape, bytes(_bytes(value)) if dense else value._version
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes() if value.dtype != object else str(value)
    return type(value).__name__, _parts(value, seen, depth + 1)


def _parts(value: Any, seen: Seen, depth: int) -> Any:
    if isinstance(value, torch.Generator):
        return bytes(_bytes(value.get_state()))
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state())
    if isinstance(value, Mapping):
        value = [part for item in list(value.items()) for part in item]
    if isinstance(value, set | frozenset):
        return frozenset(_contents(item, seen.new_child(), depth) for item in list(value))
    if isinstance(value, list | tuple | deque):
        return tuple(_contents(item, seen, depth) for item in list(value))
    fields = getattr(value, "__dict__", {})
    return tuple(_contents(item, seen, depth) for item in list(fields.items()))


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data

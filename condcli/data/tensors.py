"""One form for all inputs and targets: dense CPU tensors of the dtypes that a network takes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from condcli.batch import Tensors, mapped
from condcli.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def to_tensors(value: Any, *, what: str) -> Tensors:
    """A tensor or what `to_tensor` takes, a tuple or list of tensors or arrays, or a dict."""
    import torch

    if isinstance(value, Mapping):
        return {
            str(name): to_tensor(part, what=f"{what}[{name!r}]") for name, part in value.items()
        }
    if isinstance(value, tuple | list) and any(
        isinstance(part, torch.Tensor | np.ndarray) for part in value
    ):
        return tuple(to_tensor(part, what=f"{what}[{place}]") for place, part in enumerate(value))
    return to_tensor(value, what=what)


def to_tensor(array: Any, *, what: str) -> Tensor:
    """A tensor, array, number, list of numbers or picture as a dense CPU tensor.

    A picture of Pillow's becomes uint8 (channels, height, width). `what` names it in errors.
    """
    import torch

    if _is_picture(array):
        array = picture_bytes(array)
    if isinstance(array, tuple | list):
        array = _listed(array, what)
    if isinstance(array, np.ndarray | np.generic):
        array = torch.from_numpy(_plain(np.asarray(array), what))
    if isinstance(array, bool | int | float):
        array = torch.tensor(array, dtype=torch.float64 if isinstance(array, float) else None)
    if not isinstance(array, torch.Tensor):
        raise InputError(
            f"{what} is of type {type(array).__name__}, not a tensor or an array of numbers",
            "convert it first, or leave it out",
        )
    if array.is_meta or array.layout is not torch.strided or array.is_complex():
        raise InputError(f"{what} is a meta, sparse or complex tensor", "store dense real numbers")
    return array.detach().cpu()


def picture_bytes(picture: Any) -> np.ndarray[Any, Any]:
    """A Pillow image as uint8 (1 or 3, height, width): grey ones stay grey, the rest is RGB."""
    grey = picture.mode in ("1", "L")
    array = np.array(picture.convert("L" if grey else "RGB"))
    return array[None] if grey else array.transpose(2, 0, 1)


def as_inputs(tensors: Tensors) -> Tensors:
    """What a network is fed, by `as_input`.

    Among several inputs, those called `…_ids` and `…_mask` become int64, and other booleans stay.
    """
    import torch

    if isinstance(tensors, Mapping):
        return {
            name: tensor.to(torch.int64) if _counts(name, tensor) else as_input(tensor, torch.bool)
            for name, tensor in tensors.items()
        }
    if isinstance(tensors, tuple):
        return tuple(as_input(tensor, torch.bool) for tensor in tensors)
    return as_input(tensors)


def as_input(tensor: Tensor, boolean: torch.dtype | None = None) -> Tensor:
    """uint8 becomes 0..1, other integers int64 (tokens), the rest float, or `boolean`.

    float64 keeps its precision, every other float becomes float32.
    """
    import torch

    if tensor.dtype == torch.uint8:
        return tensor.to(torch.float32) / 255
    if tensor.dtype in (torch.float64, torch.float32):
        return tensor
    if tensor.dtype == torch.bool:
        return tensor.to(boolean or torch.float32)
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)


def as_targets(tensors: Tensors) -> Tensors:
    """Class labels as int64, regression targets as float32, or float64 where they came as such."""
    import torch

    def target(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor.to(torch.int64)
        return tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32)

    return mapped(target, tensors)


def _counts(name: str, tensor: Tensor) -> bool:
    return not tensor.is_floating_point() and name.endswith(("_ids", "_mask"))


def _is_picture(value: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")  # who has a picture has imported it
    return pillow is not None and isinstance(value, pillow.Image)


def _listed(numbers: Any, what: str) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(numbers)
    except ValueError:  # numpy's word for lists of unequal length
        raise InputError(f"{what} is a list of unequal lists", "pad them first") from None


def _plain(array: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    """An array that torch can share: native byte order, writable, a dtype that it knows."""
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{what} holds {array.dtype}, not real numbers", "store an array of numbers"
        )
    if array.dtype.kind == "u" and array.itemsize > 1:
        array = array.astype(np.int64)  # torch can hardly compute with uint16 … uint64
    if array.dtype.kind == "f" and array.itemsize > 8:
        array = array.astype(np.float64)
    return np.require(array, dtype=array.dtype.newbyteorder("="), requirements=["C", "W"])

"""One form for all inputs and targets: dense CPU tensors of the dtypes that a network takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from condcli.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def to_tensor(array: Any, *, what: str) -> Tensor:
    """A tensor, array or number as a dense CPU tensor; `what` names it in errors."""
    import torch

    if isinstance(array, np.ndarray | np.generic):
        array = torch.from_numpy(_plain(np.asarray(array), what))
    if isinstance(array, bool | int | float):
        array = torch.tensor(array, dtype=torch.float64 if isinstance(array, float) else None)
    if not isinstance(array, torch.Tensor):
        raise InputError(
            f"{what} is of type {type(array).__name__}, not a tensor or an array of numbers",
            "convert it first (torchvision.transforms.ToTensor() makes tensors of images)",
        )
    if array.is_meta or array.layout is not torch.strided or array.is_complex():
        raise InputError(f"{what} is a meta, sparse or complex tensor", "store dense real numbers")
    return array.detach().cpu()


def as_inputs(tensor: Tensor) -> Tensor:
    """What a network is fed: uint8 becomes 0..1, other integers int64 (tokens), the rest float.

    float64 keeps its precision, every other float becomes float32.
    """
    import torch

    if tensor.dtype == torch.uint8:
        return tensor.to(torch.float32) / 255
    if tensor.dtype in (torch.float64, torch.float32):
        return tensor
    if tensor.is_floating_point() or tensor.dtype == torch.bool:
        return tensor.to(torch.float32)
    return tensor.to(torch.int64)


def as_targets(tensor: Tensor) -> Tensor:
    """Class labels as int64, regression targets as float32, or float64 where they came as such."""
    import torch

    if not tensor.is_floating_point():
        return tensor.to(torch.int64)
    return tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32)


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

"""Subtract a mean and divide by a standard deviation, per channel, as training did."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from condcli.batch import Tensors, shape_text
from condcli.data.tensors import as_input
from condcli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 1024  # examples that are converted at a time
SYNTAX = "none, default, standardize, or MEAN/STD such as 0.5/0.25 or 0.49,0.48,0.45/0.25,0.24,0.26"


@dataclass(frozen=True)
class Normalization:
    """Inputs less mean, over std: one number for all channels, or one per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    name: str = ""  # when the numbers are too many to be listed

    def __str__(self) -> str:
        return self.name or f"mean {_listed(self.mean)}, std {_listed(self.std)}"

    def __call__(self, inputs: Tensor) -> Tensor:
        """The normalised (n, channels, …) inputs, in their own dtype."""
        axes = (-1,) + (1,) * (inputs.ndim - 2)
        mean = inputs.new_tensor(self.mean).reshape(axes)
        return (inputs - mean) / inputs.new_tensor(self.std).reshape(axes)


def choose_normalization(
    text: str | None,
    *,
    usual: Normalization | None,
    standard: Callable[[], Normalization] | None,
    first: Callable[[], Tensors],
) -> Normalization | None:
    """What `text` asks for: `usual` when it is silent, `standard` when it is `standardize`.

    `first` reads the inputs of a first example or batch, channels second. Raises UsageError when
    they are not floats, or several tensors, or of another number of channels.
    """
    if text is None or text == "default":
        return usual
    if text == "none":
        return None
    if text == "standardize":
        _channels(first())
        if standard is None:
            raise UsageError(
                "--normalize standardize is for data in memory: tables and array files",
                "give the mean and deviation yourself, as MEAN/STD",
            )
        return standard()
    normalization, inputs = _parse(text), first()
    channels = _channels(inputs)
    for numbers in (normalization.mean, normalization.std):
        if len(numbers) not in (1, channels):
            raise UsageError(
                f"--normalize gives {len(numbers)} numbers ({_listed(numbers)}), but the inputs, "
                f"{shape_text(inputs)}, have {channels} channels",
                f"give one number, or {channels}, before and after the '/'",
            )
    return normalization


def standardization(inputs: Tensor) -> Normalization:
    """Mean and deviation per channel (feature) of all inputs (N, channels, …); 1 for a constant."""
    mean = _channel_means(inputs, lambda floats: floats)
    centre = mean.reshape(-1, *(1,) * (inputs.ndim - 2))
    std = _channel_means(inputs, lambda floats: (floats - centre) ** 2).sqrt()
    std[std == 0] = 1
    return Normalization(tuple(mean.tolist()), tuple(std.tolist()), name="standardize")


def _channel_means(inputs: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    sums = [
        function(as_input(chunk).double()).reshape(len(chunk), inputs.shape[1], -1).mean(2).sum(0)
        for chunk in inputs.split(CHUNK)
    ]
    return sum(sums[1:], start=sums[0]) / len(inputs)


def _channels(inputs: Tensors) -> int:
    import torch

    if not isinstance(inputs, torch.Tensor):
        raise UsageError(
            f"--normalize is for one tensor of numbers, and the inputs are {shape_text(inputs)}",
            "drop --normalize",
        )
    if not inputs.is_floating_point():
        raise UsageError("integer inputs (tokens) cannot be normalised", "drop --normalize")
    return inputs.shape[1]


def _parse(text: str) -> Normalization:
    parts = text.split("/")
    try:
        mean, std = ([float(number) for number in part.split(",")] for part in parts)
    except ValueError:
        raise UsageError(f"--normalize '{text}' is not understood", f"give {SYNTAX}") from None
    if not all(map(math.isfinite, mean)) or not all(0 < number < math.inf for number in std):
        raise UsageError(
            f"--normalize '{text}' needs finite means and positive standard deviations",
            f"give {SYNTAX}",
        )
    return Normalization(tuple(mean), tuple(std))


def _listed(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:.6g}" for number in numbers)

"""Subtract a mean and divide by a standard deviation, per channel, as training did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from condcli.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

SYNTAX = "none, default, or MEAN/STD such as 0.5/0.25 or 0.49,0.48,0.45/0.25,0.24,0.26"


@dataclass(frozen=True)
class Normalization:
    """Inputs less mean, over std: one number for all channels, or one per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __str__(self) -> str:
        return f"mean {_listed(self.mean)}, std {_listed(self.std)}"

    def __call__(self, inputs: Tensor) -> Tensor:
        """The normalised (n, channels, …) inputs, in their own dtype."""
        if not inputs.is_floating_point():
            raise UsageError("integer inputs (tokens) cannot be normalised", "drop --normalize")
        axes = (-1,) + (1,) * (inputs.ndim - 2)
        mean = inputs.new_tensor(self.mean).reshape(axes)
        return (inputs - mean) / inputs.new_tensor(self.std).reshape(axes)


def choose_normalization(
    text: str | None, *, usual: Normalization | None, shape: tuple[int, ...]
) -> Normalization | None:
    """What `text` asks for, for inputs of `shape`, channels first; `usual` when it is silent."""
    if text is None or text == "default":
        return usual
    if text == "none":
        return None
    normalization = _parse(text)
    for numbers in (normalization.mean, normalization.std):
        if len(numbers) not in (1, shape[0]):
            raise UsageError(
                f"--normalize gives {len(numbers)} numbers ({_listed(numbers)}), but the inputs, "
                f"{'x'.join(map(str, shape))}, have {shape[0]} channels",
                f"give one number, or {shape[0]}, before and after the '/'",
            )
    return normalization


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

"""Padding tokens: which rows of a call are real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from condcli.batch import Tensors


@dataclass(frozen=True)
class Padding:
    """The real tokens of a batch, (N, T) bool; a call's rows are tokens where their shape says so.

    Rows of one example each (pooled), of other positions (strided), or with a second axis as long
    as the tokens' are left as they are.
    """

    real: Tensor

    def rows(
        self, leading: Sequence[int], *, time_first: bool, example_first: bool = True
    ) -> Tensor | None:
        """Which of the rows with these leading axes are real, in their shape; None: no tokens.

        The axes are (N, T, …), or (T, N, …) if ``time_first``; where both would fit,
        ``example_first`` decides. One axis of N·T rows runs in the order (N, T), or in (T, N) if
        ``time_first``.
        """
        examples, tokens = self.real.shape
        leading = tuple(leading)
        if tokens in leading[2:]:
            return None
        if leading[:2] == (tokens, examples) and (examples != tokens or not example_first):
            time_first = True
        real = self.real.t() if time_first else self.real
        if leading[:2] != tuple(real.shape):
            if leading[:1] != (examples * tokens,):
                return None
            real = real.flatten()
        return real.reshape(*real.shape, *[1] * (len(leading) - real.dim())).expand(leading)


def real_tokens(inputs: Tensors) -> Tensor | None:
    """The tokens that are no padding, (N, T) bool; None where all are, or the data do not say.

    An encoder's and a decoder's tokens are not told apart: no mask then goes for both.
    """
    if not isinstance(inputs, Mapping) or any(name.startswith("decoder_") for name in inputs):
        return None
    mask = inputs.get("attention_mask")
    if mask is None or mask.dim() != 2 or bool(mask.all()):
        return None
    return mask.bool()


def row_axes(shape: Sequence[int], unit_axis: int) -> tuple[int, ...]:
    """The sizes of all axes but the units'."""
    sizes = list(shape)
    del sizes[unit_axis]
    return tuple(sizes)


def blank(tensor: Tensor, real: Tensor | None, unit_axis: int) -> Tensor:
    """The tensor with zeros in the rows that are not real."""
    return tensor if real is None else tensor.masked_fill(~real.unsqueeze(unit_axis), 0)

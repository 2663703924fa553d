"""A first look before the real pass: does the network take the data, and what will it cost?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from condcli.capture.memory import SavedBytes
from condcli.capture.undisturbed import undisturbed
from condcli.errors import CondcliError, InputError

LONGEST_CAUSE = 160  # characters of the network's own error in our one line


@dataclass(frozen=True)
class Rehearsal:
    """What the first examples tell about all of them."""

    output_shape: tuple[int, ...]  # without the batch axis
    saved_bytes: int  # kept by autograd for one example


def rehearse(
    model: nn.Module, x: Tensor, *, dtype: torch.dtype, device: torch.device, source: str
) -> Rehearsal:
    """Run one batch forward; a single example twice over, as batch statistics need two values.

    Raises InputError naming the input's shape when the network cannot take it.
    """
    with undisturbed(model, norm="running", dtype=dtype, device=device, seed=0):
        inputs = x.to(device, dtype if x.is_floating_point() else None, copy=True)
        inputs = inputs.repeat_interleave(2, dim=0) if len(x) == 1 else inputs
        saved = SavedBytes(model)
        with network_errors(x, source), saved:
            output = model(inputs)
    shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
    return Rehearsal(shape, saved.bytes // len(inputs))


@contextmanager
def network_errors(x: Tensor, source: str) -> Iterator[None]:
    """Turn what the network raises on inputs like ``x`` into an InputError of one line."""
    try:
        yield
    except (CondcliError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_CAUSE]
        raise InputError(
            f"the model fails on inputs of shape {tuple(x.shape[1:])} from {source} ({cause})",
            "choose data of the shape it was trained on, or check --arch",
        ) from error

"""One example through the network before the real pass: does it fit, and what will it cost?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from condcli.capture.memory import SavedBytes
from condcli.capture.undisturbed import undisturbed
from condcli.errors import CondcliError, InputError

LONGEST_CAUSE = 160  # characters of the network's own error in our one line


@dataclass(frozen=True)
class Rehearsal:
    """What one example tells about all of them."""

    output_shape: tuple[int, ...]  # without the batch axis
    saved_bytes: int  # kept by autograd for one example


def rehearse(
    model: nn.Module, x: Tensor, *, dtype: torch.dtype, device: torch.device, source: str
) -> Rehearsal:
    """Run one input (1, …) forward, without batch statistics, which one example cannot have.

    Raises InputError naming the input's shape when the network cannot take it.
    """
    with undisturbed(model, norm="running", dtype=dtype, device=device, seed=0):
        x = x.to(device, dtype if x.is_floating_point() else None)
        try:
            saved = SavedBytes(model)
            with torch.enable_grad(), saved:
                output = model(x)
        except CondcliError:
            raise
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            cause = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_CAUSE]
            raise InputError(
                f"the model cannot take an input of shape {tuple(x.shape[1:])} from {source} "
                f"({cause})",
                "choose data of the shape it was trained on, or check --arch",
            ) from error
    shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
    return Rehearsal(shape, saved.bytes)

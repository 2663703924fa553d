"""Files that are programs: TorchScript and torch.export's .pt2. Loading one runs what it says."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from condcli.errors import UnsafeError
from condcli.models.formats.torch_file import run_pickle

_STATE_DICT = "save the network's state_dict() and name its architecture with --arch"


def read_torchscript(path: Path, *, trust: bool) -> dict[str, Tensor]:
    """The weights of the TorchScript program at `path`, which is loaded but never called.

    Raises UnsafeError without `trust`.
    """
    refuse_untrusted(path, "a TorchScript program", _STATE_DICT, trust=trust)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; this file is as it is
        script = run_pickle(path, lambda: torch.jit.load(path, map_location="cpu"))
    tensors: dict[str, Tensor] = script.state_dict()  # type: ignore[attr-defined]
    return {name: tensor.detach() for name, tensor in tensors.items()}


def read_exported_program(path: Path, *, trust: bool) -> nn.Module:
    """The module of the torch.export program at `path`; UnsafeError without `trust`.

    torch.export.load unpickles whatever is in the file (CVE-2026-4538), without a guard.
    """
    refuse_untrusted(path, "an exported program (.pt2)", _STATE_DICT, trust=trust)

    def load() -> nn.Module:
        module: nn.Module = torch.export.load(path).module()
        return module

    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        module = run_pickle(path, load)
    assert isinstance(module, nn.Module)
    return module


def refuse_untrusted(path: Path, what: str, instead: str, *, trust: bool) -> None:
    """Raises UnsafeError, with the way to have it read and another one, without `trust`."""
    if not trust:
        raise UnsafeError(
            f"{path} is {what}: reading it can run any code",
            f"pass --trust, if you trust its origin; or {instead}",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """torch logs whole tracebacks on its way to an answer."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)

"""Files that are programs: TorchScript and torch.export's .pt2. Loading one runs what it says."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from condcli.archive import check_sums
from condcli.errors import InputError, UnsafeError
from condcli.models.formats.torch_file import run_pickle

_STATE_DICT = "save the network's state_dict() and name its architecture with --arch"


def read_torchscript(path: Path, file: IO[bytes], *, trust: bool) -> dict[str, Tensor]:
    """The weights of the TorchScript program at `path`, which is loaded but never called.

    Raises UnsafeError without `trust`, and InputError when it is damaged.
    """
    refuse_untrusted(path, "a TorchScript program", _STATE_DICT, trust=trust)
    check_sums(path, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; this file is as it is
        script = run_pickle(path, lambda: torch.jit.load(file, map_location="cpu"))
    tensors: dict[str, Tensor] = script.state_dict()  # type: ignore[attr-defined]
    return {name: tensor.detach() for name, tensor in tensors.items()}


def read_exported_program(path: Path, file: IO[bytes], *, trust: bool) -> nn.Module:
    """The module of the torch.export program at `path`, for any number of examples.

    Raises UnsafeError without `trust`, and InputError when it is damaged, or was exported for one
    number only.
    torch.export.load unpickles whatever is in the file (CVE-2026-4538), without a guard.
    """
    refuse_untrusted(path, "an exported program (.pt2)", _STATE_DICT, trust=trust)
    check_sums(path, file)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        program = run_pickle(path, lambda: torch.export.load(file))
    assert isinstance(program, ExportedProgram)
    if not _takes_any_batch(program):
        raise InputError(
            f"{path} was exported for one number of examples only",
            "export it again with dynamic_shapes=({0: torch.export.Dim('examples')},)",
        )
    return program.module()


def _takes_any_batch(program: ExportedProgram) -> bool:
    """Whether the first axis of some input is free."""
    inputs = [n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs]
    values = (node.meta.get("val") for node in inputs)
    return any(
        isinstance(value.shape[0], torch.SymInt)
        for value in values
        if isinstance(value, Tensor) and value.ndim
    )


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

"""What a zip archive is, by the names of its entries.

TorchScript and exported programs hold code, and torch.load opens them along other ways than its
weights-only guard.
"""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from condcli.archive import entries_of
from condcli.errors import InputError

Program = Literal["TorchScript", "exported program"]


def archive_kind(path: Path, file: IO[bytes]) -> Program | Literal["torch", "numpy"]:
    """What the zip archive `file` at `path` holds; InputError if it is none that holds weights."""
    names = [entry.filename for entry in entries_of(path, file)]
    inner = [str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in names]
    if "constants.pkl" in inner:
        return "TorchScript"
    if "archive_format" in inner or any(fnmatch(name, "models/*.json") for name in inner):
        return "exported program"
    if names and all(name.endswith(".npy") for name in names):
        return "numpy"
    if "data.pkl" in inner:
        return "torch"
    if "model.weights.h5" in names:
        raise InputError(f"{path} is a Keras model", "save the weights of its twin in PyTorch")
    raise InputError(
        f"{path} is a zip archive, but not one of torch.save",
        "give a checkpoint written by torch.save, or a .safetensors file",
    )

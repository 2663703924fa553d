"""One reader for each kind of file that holds weights."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from condcli.errors import InputError
from condcli.models.formats.archive import DAMAGED, archive_kind, check_archive
from condcli.models.formats.arrays import read_arrays, tensors_of_arrays
from condcli.models.formats.content import RAN_CODE, Content
from condcli.models.formats.file_kind import file_kind
from condcli.models.formats.programs import (
    read_exported_program,
    read_torchscript,
    refuse_untrusted,
)
from condcli.models.formats.torch_file import load_torch_file, run_pickle
from condcli.models.places import holds_weights


def read_file(path: Path, *, trust: bool = False, weights: str | None = None) -> Content:
    """What the checkpoint file at `path` holds; pickled code runs only with `trust`.

    `weights` is where the weights will be looked for: pickled code beside them is not run. Raises
    InputError when the file is missing, damaged or no checkpoint, UnsafeError when it needs code.
    """
    kind = file_kind(path)
    container = archive_kind(path) if kind == "zip" else kind
    reader = READERS[container]
    return reader(path, trust, partial(holds_weights, key=weights))


def _torch(path: Path, trust: bool, enough: Callable[[object], bool], *, zipped: bool) -> Content:
    if zipped:
        check_archive(path)
    loaded = load_torch_file(path, trust=trust, mmap=zipped, enough=enough)
    return Content(
        data=loaded.data,
        format="torch.save" if zipped else "torch.save (before 1.6)",
        files=(path,),
        unread=loaded.unread,
        notes=RAN_CODE if loaded.ran_code else (),
    )


def _safetensors(path: Path, trust: bool, enough: Callable[[object], bool]) -> Content:
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError):
        raise InputError(f"{path} is truncated or damaged", DAMAGED) from None
    return Content(data=tensors, format="safetensors", files=(path,))


def _pickle(path: Path, trust: bool, enough: Callable[[object], bool]) -> Content:
    refuse_untrusted(
        path, "a bare pickle", "torch.save its state_dict() where it was made", trust=trust
    )
    with path.open("rb") as file:
        data = run_pickle(path, lambda: pickle.load(file))
    return Content(data=tensors_of_arrays(data), format="pickle", files=(path,), notes=RAN_CODE)


def _numpy(path: Path, trust: bool, enough: Callable[[object], bool]) -> Content:
    return Content(data=read_arrays(path), format="NumPy .npz", files=(path,))


def _torchscript(path: Path, trust: bool, enough: Callable[[object], bool]) -> Content:
    tensors: Mapping[str, Tensor] = read_torchscript(path, trust=trust)
    note = "a TorchScript program cannot be followed, so only its weights are used (--trust)"
    return Content(data=tensors, format="TorchScript", files=(path,), notes=(note,))


def _exported_program(path: Path, trust: bool, enough: Callable[[object], bool]) -> Content:
    module = read_exported_program(path, trust=trust)
    notes = ("its program was loaded (--trust), and normalises as it was exported",)
    return Content(data=module, format="torch.export", files=(path,), notes=notes)


_Reader = Callable[[Path, bool, Callable[[object], bool]], Content]
READERS: Mapping[str, _Reader] = {
    "torch": partial(_torch, zipped=True),
    "legacy": partial(_torch, zipped=False),
    "safetensors": _safetensors,
    "pickle": _pickle,
    "numpy": _numpy,
    "TorchScript": _torchscript,
    "exported program": _exported_program,
}

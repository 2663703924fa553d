"""One reader for each kind of file that holds weights."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO

from torch import Tensor

from condcli.archive import check_archive
from condcli.files import Sources
from condcli.models.formats.archive import archive_kind
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
from condcli.safetensors_file import read_safetensors

Enough = Callable[[object], bool]  # whether what was read without code holds the weights


def read_file(
    path: Path, sources: Sources, *, trust: bool = False, weights: str | None = None
) -> Content:
    """What the checkpoint file at `path` holds; pickled code runs only with `trust`.

    `weights` is where the weights will be looked for: pickled code beside them is not run. Raises
    InputError when the file is missing, damaged or no checkpoint, UnsafeError when it needs code.
    """
    file = sources.open(path)
    kind = file_kind(path, file)
    container = archive_kind(path, file) if kind == "zip" else kind
    file.seek(0)
    return READERS[container](path, file, trust, partial(holds_weights, key=weights))


def _torch(path: Path, file: IO[bytes], trust: bool, enough: Enough, *, zipped: bool) -> Content:
    if zipped:
        check_archive(path, file)
    loaded = load_torch_file(path, file, trust=trust, enough=enough)
    return Content(
        data=loaded.data,
        format="torch.save" if zipped else "torch.save (before 1.6)",
        files=(path,),
        unread=loaded.unread,
        notes=RAN_CODE if loaded.ran_code else (),
    )


def _safetensors(path: Path, file: IO[bytes], trust: bool, enough: Enough) -> Content:
    return Content(data=read_safetensors(path, file), format="safetensors", files=(path,))


def _pickle(path: Path, file: IO[bytes], trust: bool, enough: Enough) -> Content:
    refuse_untrusted(
        path, "a bare pickle", "torch.save its state_dict() where it was made", trust=trust
    )
    data = run_pickle(path, lambda: pickle.load(file))
    return Content(data=tensors_of_arrays(data), format="pickle", files=(path,), notes=RAN_CODE)


def _numpy(path: Path, file: IO[bytes], trust: bool, enough: Enough) -> Content:
    return Content(data=read_arrays(path, file), format="NumPy .npz", files=(path,))


def _torchscript(path: Path, file: IO[bytes], trust: bool, enough: Enough) -> Content:
    tensors: Mapping[str, Tensor] = read_torchscript(path, file, trust=trust)
    note = "a TorchScript program cannot be followed, so only its weights are used (--trust)"
    return Content(data=tensors, format="TorchScript", files=(path,), notes=(note,))


def _exported_program(path: Path, file: IO[bytes], trust: bool, enough: Enough) -> Content:
    module = read_exported_program(path, file, trust=trust)
    notes = ("its program was loaded (--trust), and normalises as it was exported",)
    return Content(data=module, format="torch.export", files=(path,), notes=notes)


_Reader = Callable[[Path, IO[bytes], bool, Enough], Content]
READERS: Mapping[str, _Reader] = {
    "torch": partial(_torch, zipped=True),
    "legacy": partial(_torch, zipped=False),
    "safetensors": _safetensors,
    "pickle": _pickle,
    "numpy": _numpy,
    "TorchScript": _torchscript,
    "exported program": _exported_program,
}

"""A checkpoint file, read without running its code."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from condcli.errors import InputError
from condcli.models.archive import check_archive
from condcli.models.file_kind import Kind, file_kind
from condcli.models.state_dict import Found, check_tensors, find_weights, strip_prefixes
from condcli.models.torch_file import load_torch_file

FORMATS = {"zip": "torch.save", "legacy": "torch.save (before 1.6)", "safetensors": "safetensors"}
STEPS = ("step", "global_step", "iteration")
SHOWN_KEYS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """What a file holds: weights, and its own word on architecture and training where it has one.

    Exactly one of `state_dict` and `module` is there.
    """

    path: Path
    format: str
    sha256: str
    contents: str  # the top-level keys, shortened
    state_dict: Mapping[str, Tensor] | None  # on the CPU, dense, finite, without wrappers' prefixes
    prefix: str = ""  # what was stripped off every name
    module: nn.Module | None = None  # from a trusted pickle
    arch: str | None = None
    arch_args: Mapping[str, object] | None = None
    step: int | None = None
    data: str | None = None  # the data set that it was trained on, as --data takes it
    normalize: str | None = None  # the normalisation of its inputs, as --normalize takes it
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path, *, trust: bool = False) -> Checkpoint:
    """The checkpoint at `path`, whole and checked.

    Raises InputError when it is missing, damaged or holds no (finite) weights, and UnsafeError
    when reading it would run code and `trust` is not set.
    """
    kind = file_kind(path)
    content, ran_code = _load(path, kind, trust=trust)
    found = find_weights(content, path)
    state_dict, prefix, module = _checked(found.weights, path)
    top = content if isinstance(content, Mapping) else {}
    return Checkpoint(
        path=path,
        format=FORMATS[kind],
        sha256=_sha256(path),
        contents=_contents(content),
        state_dict=state_dict,
        prefix=prefix,
        module=module,
        arch=_text(top, "arch"),
        arch_args=_arch_args(top, path),
        step=_step(top),
        data=_text(top, "data"),
        normalize=_text(top, "normalize"),
        notes=tuple(_notes(found, prefix, ran_code, described="arch" in top)),
    )


def write_checkpoint(
    path: str | Path,
    module_state: Mapping[str, Tensor],
    *,
    arch: str,
    arch_args: Mapping[str, object],
    step: int | None = None,
    data: str | None = None,
    normalize: str | None = None,
) -> None:
    """Writes a self-describing checkpoint, whole or not at all: a dict that torch.load reads."""
    path = Path(path)
    described: dict[str, object] = {
        "arch": arch,
        "arch_args": dict(arch_args),
        "state_dict": dict(module_state),
    }
    optional = {"step": step, "data": data, "normalize": normalize}
    described.update({key: value for key, value in optional.items() if value is not None})
    image = io.BytesIO()  # torch.save would write the temporary file's name into the archive
    torch.save(described, image)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(image.getbuffer())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _load(path: Path, kind: Kind, *, trust: bool) -> tuple[object, bool]:
    if kind == "safetensors":
        return _load_safetensors(path), False
    if kind == "zip":
        check_archive(path)
    return load_torch_file(path, trust=trust)


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, KeyError):
        raise InputError(
            f"{path} is truncated or damaged", "save or download the checkpoint again"
        ) from None


def _checked(
    weights: Mapping[str, Tensor] | nn.Module, path: Path
) -> tuple[dict[str, Tensor] | None, str, nn.Module | None]:
    """(state_dict, its stripped prefix, module), one of the two None."""
    if isinstance(weights, nn.Module):
        check_tensors(weights.state_dict(), path)
        return None, "", weights
    check_tensors(weights, path)
    tensors, prefix = strip_prefixes({name: tensor.detach() for name, tensor in weights.items()})
    return tensors, prefix, None


def _notes(found: Found, prefix: str, ran_code: bool, *, described: bool) -> Iterator[str]:
    if ran_code:
        yield "its pickled code was run (--trust)"
    if found.place and not described:
        left = f" (there are also {', '.join(found.others)})" if found.others else ""
        yield f"weights from {'.'.join(found.place)}{left}"
    if prefix:
        yield f"prefix {prefix} stripped from the tensors' names"


def _contents(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a pickled {type(content).__name__}"
    if all(isinstance(value, Tensor) for value in content.values()):
        return f"a state_dict of {len(content)} tensors"
    more = [f"{len(content) - SHOWN_KEYS} more"] if len(content) > SHOWN_KEYS else []
    return ", ".join([*map(str, list(content)[:SHOWN_KEYS]), *more])


def _text(top: Mapping[str, object], key: str) -> str | None:
    value = top.get(key)
    return value if isinstance(value, str) else None


def _arch_args(top: Mapping[str, object], path: Path) -> dict[str, object] | None:
    value = top.get("arch_args")
    if value is None or "arch" not in top:
        return None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(
            f"{path}: arch_args is not a dict of names and values",
            "save it as the architecture's keyword arguments",
        )
    return value


def _step(top: Mapping[str, object]) -> int | None:
    steps = (top.get(key) for key in STEPS)
    return next((step for step in steps if type(step) is int), None)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()

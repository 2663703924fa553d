"""A checkpoint, read without running its code."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from condcli.errors import InputError
from condcli.files import Sources
from condcli.models.config import find_config
from condcli.models.formats.content import STEPS, Content, is_step
from condcli.models.formats.digest import sha256_of
from condcli.models.formats.folder import read_content
from condcli.models.places import Found, Weights, find_weights
from condcli.models.state_dict import check_tensors, strip_prefixes

NOTES_OF_TRAINING = ("meta", "extra_state")  # dicts in which mmengine and fairseq keep the step
SHOWN_KEYS = 12
SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """Weights, and the checkpoint's own word on architecture and training where it has one.

    Exactly one of `state_dict` and `module` is there.
    """

    path: Path  # a file or a folder
    files: tuple[Path, ...]  # that were read
    format: str
    size: int  # bytes in all of them
    digest: Future[str]
    contents: str  # the top-level keys, shortened
    state_dict: Mapping[str, Tensor] | None  # on the CPU, dense, finite, without wrappers' prefixes
    prefix: str = ""  # what was stripped off every name
    module: nn.Module | None = None  # from a trusted pickle or program
    config: Path | None = None  # the config.json of transformers or timm beside the weights
    arch: str | None = None
    arch_args: Mapping[str, object] | None = None
    step: int | None = None
    data: str | None = None  # the data set that it was trained on, as --data takes it
    normalize: str | None = None  # the normalisation of its inputs, as --normalize takes it
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the file; of several that of `sha256sum FILES`. Raises InputError if one changed."""
        try:
            return self.digest.result()
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be read to its end ({error.strerror})", "check the disk"
            ) from error


def read_checkpoint(path: Path, *, trust: bool = False, weights: str | None = None) -> Checkpoint:
    """The checkpoint at `path`, a file or a folder, whole and checked.

    `weights` is the dotted key of the weights to take, where it holds several. Raises InputError
    when it is missing, damaged or holds no (finite) weights, UsageError when there are none at
    `weights`, and UnsafeError when reading it would run code and `trust` is not set.
    """
    with Sources() as sources:
        content = read_content(path, sources, trust=trust, weights=weights)
        size = sum(sources.size(file) for file in content.files)
        digest = sha256_of(content.files, sources)
    found = find_weights(content.data, path, weights)
    state_dict, prefix, module = _checked(found.weights, path)
    top = content.data if isinstance(content.data, Mapping) else {}
    return Checkpoint(
        path=path,
        files=content.files,
        format=content.format,
        size=size,
        digest=digest,
        contents=_contents(content.data),
        state_dict=state_dict,
        prefix=prefix,
        module=module,
        config=find_config(path),
        arch=_text(top, "arch"),
        arch_args=_arch_args(top, path),
        step=_step(top) if content.step is None else content.step,
        data=_text(top, "data"),
        normalize=_text(top, "normalize"),
        notes=tuple(_notes(content, found, prefix, described="arch" in top)),
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


def _checked(
    weights: Weights, path: Path
) -> tuple[dict[str, Tensor] | None, str, nn.Module | None]:
    """(state_dict, its stripped prefix, module), one of the two None."""
    if isinstance(weights, nn.Module):
        check_tensors(weights.state_dict(), path)
        return None, "", weights
    check_tensors(weights, path)
    tensors, prefix = strip_prefixes({name: tensor.detach() for name, tensor in weights.items()})
    return tensors, prefix, None


def _notes(content: Content, found: Found, prefix: str, *, described: bool) -> Iterator[str]:
    yield from content.notes
    if content.unread:
        yield f"pickled code left unread: {_some(content.unread)}"
    if found.place and not described:
        left = f" (there are also {', '.join(found.others)})" if found.others else ""
        yield f"weights from {'.'.join(found.place)}{left}"
    if found.dropped:
        yield f"no tensors, and left out: {_some(found.dropped)}"
    if prefix:
        yield f"prefix {prefix} stripped from the tensors' names"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (", …" if len(names) > SHOWN_NAMES else "")


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
    places = (top, *(top.get(key) for key in NOTES_OF_TRAINING))
    steps = (place.get(key) for place in places if isinstance(place, Mapping) for key in STEPS)
    return next((step for step in steps if is_step(step)), None)

"""What a file is by its first bytes; its extension says nothing."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal

from condcli.errors import InputError, UnsafeError

Kind = Literal["zip", "legacy", "safetensors"]

HEAD = 512  # bytes: a tar archive shows at offset 257
# torch.save without zip begins with this number, pickled as a LONG1
LEGACY_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
LONGEST_SAFETENSORS_HEADER = 100 << 20  # the format's own limit

_UNPACK = "unpack it first"
_TORCH_FIRST = "give a checkpoint written by torch.save, or a .safetensors file"
FOREIGN = {
    b"version https://git-lfs": ("a git-LFS pointer, not the file itself", "run git lfs pull"),
    b"\x89HDF\r\n\x1a\n": (
        "an HDF5 file",
        "spectrum, domination and neurons read statistics files",
    ),
    b"GGUF": ("a GGUF file", _TORCH_FIRST),
    b"\x93NUMPY": ("a NumPy array", _TORCH_FIRST),
    b"\x89PNG": ("an image", _TORCH_FIRST),
    b"\xff\xd8\xff": ("an image", _TORCH_FIRST),
    b"%PDF": ("a PDF document", _TORCH_FIRST),
    b"\x1f\x8b": ("gzip-compressed", _UNPACK),
    b"BZh": ("bzip2-compressed", _UNPACK),
    b"\xfd7zXZ": ("xz-compressed", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("zstd-compressed", _UNPACK),
}
WEB_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head")


def file_kind(path: Path) -> Kind:
    """The container of the checkpoint at `path`; anything else is refused by what it is."""
    head = _head(path)
    for prefix, (what, remedy) in FOREIGN.items():
        if head.startswith(prefix):
            raise InputError(f"{path} is {what}", remedy)
    if head.lstrip().lower().startswith(WEB_PAGE):
        raise InputError(f"{path} is a web page, not a checkpoint", "download the file itself")
    if head[257:262] == b"ustar":
        raise InputError(f"{path} is a tar archive", _UNPACK)
    return _checkpoint_kind(path, head)


def _checkpoint_kind(path: Path, head: bytes) -> Kind:
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"\x80"):
        if LEGACY_MAGIC in head:
            return "legacy"
        raise UnsafeError(
            f"{path} is a bare pickle, which may run any code",
            "load it where it was made and torch.save its state_dict()",
        )
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < LONGEST_SAFETENSORS_HEADER:
        return "safetensors"
    raise InputError(
        f"{path} is no checkpoint: it begins with {head[:8]!r}",
        _TORCH_FIRST,
    )


def _head(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a folder", "give one checkpoint file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file", "give one checkpoint file")
        if status.st_size == 0:
            raise InputError(f"{path} is empty", "save or download the checkpoint again")
        with path.open("rb") as file:
            return file.read(HEAD)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", "check the path") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", "check the path and its permissions"
        ) from error

"""What a file is by its first bytes; its extension says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Literal

from condcli.errors import InputError
from condcli.files import HEAD, stand_in
from condcli.safetensors_file import LARGEST_HEADER

Kind = Literal["zip", "legacy", "safetensors", "pickle"]

# torch.save without zip begins with this number, pickled as a LONG1
LEGACY_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
LEGACY_HEAD = 32  # bytes: the protocol, perhaps a frame, the number

_UNPACK = "unpack it first"
_TORCH_FIRST = "give a checkpoint written by torch.save, or a .safetensors file"
FOREIGN = {
    b"\x89HDF\r\n\x1a\n": (
        "an HDF5 file",
        "spectrum, domination and neurons read statistics files; of a Keras model, "
        "save the weights of the same network in PyTorch",
    ),
    b"GGUF": (
        "a GGUF file, whose weights are quantized",
        "probe the checkpoint that it was converted from",
    ),
    b"\x93NUMPY": ("one NumPy array", "put the weights by name into a .npz or .safetensors file"),
    b"\x89PNG": ("an image", _TORCH_FIRST),
    b"\xff\xd8\xff": ("an image", _TORCH_FIRST),
    b"%PDF": ("a PDF document", _TORCH_FIRST),
    b"\x1f\x8b": ("gzip-compressed", _UNPACK),
    b"BZh": ("bzip2-compressed", _UNPACK),
    b"\xfd7zXZ": ("xz-compressed", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("zstd-compressed", _UNPACK),
}
# The first members of the tar archive that torch.save wrote in its first year.
TORCH_OF_2016 = (b"sys_info", b"pickle", b"storages", b"tensors")


def file_kind(path: Path, file: IO[bytes]) -> Kind:
    """The container of the checkpoint `file` at `path`; all else is refused by what it is."""
    head = file.read(HEAD)
    if not head:
        raise InputError(f"{path} is empty", "save or download the checkpoint again")
    foreign = _foreign(head)
    if foreign:
        what, remedy = foreign
        raise InputError(f"{path} is {what}", remedy)
    return _checkpoint_kind(path, head)


def _foreign(head: bytes) -> tuple[str, str] | None:
    """What the file is, if no checkpoint that is read here, and what to do about it."""
    if _is_safetensors(head):  # its first byte, of a length, may be any other format's
        return None
    for prefix, what in FOREIGN.items():
        if head.startswith(prefix):
            return what
    if found := stand_in(head):
        return found
    if head[257:262] == b"ustar":
        return _tar(head)
    # An ONNX model is a protobuf: its version, then the name of the program that wrote it.
    if head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x1a", b":", b"B"):
        return "an ONNX model", "probe the PyTorch checkpoint that it was exported from"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", _TORCH_FIRST
    # msgpack: a map of a few keys, of which the first is a string
    if len(head) > 1 and 0x81 <= head[0] <= 0x8F and 0xA1 <= head[1] <= 0xBF:
        return "a msgpack file, as Flax writes", "save the flattened parameters with safetensors"
    return None


def _is_safetensors(head: bytes) -> bool:
    """Whether it begins with the length of a header, and the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < LARGEST_HEADER


def _tar(head: bytes) -> tuple[str, str]:
    if head[:100].rstrip(b"\0") in TORCH_OF_2016:
        return "a tar archive of a torch before 0.1.10", "load and save it again with torch 1.x"
    return "a tar archive", _UNPACK


def _checkpoint_kind(path: Path, head: bytes) -> Kind:
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if _is_safetensors(head):
        return "safetensors"
    if head.startswith(b"\x80"):
        # A pickle of tensors has the magic number, too, but not at its beginning.
        return "legacy" if LEGACY_MAGIC in head[:LEGACY_HEAD] else "pickle"
    raise InputError(f"{path} is no checkpoint: it begins with {head[:8]!r}", _TORCH_FIRST)

"""A file is what it is, whatever its first byte reminds of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from condcli.errors import InputError, UnsafeError
from condcli.models import read_checkpoint

# Of a safetensors file these are its header's length; pickles, msgpack, ONNX begin alike.
PICKLE, MSGPACK, ONNX = 0x280, 0xA888, 0x120008


@pytest.mark.parametrize("length", [PICKLE, MSGPACK, ONNX])
def test_safetensors_of_any_header_length_are_read(length: int, tmp_path: Path) -> None:
    header = json.dumps({"bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})
    content = length.to_bytes(8, "little") + header.ljust(length).encode() + bytes(8)
    (tmp_path / "model.safetensors").write_bytes(content)
    checkpoint = read_checkpoint(tmp_path / "model.safetensors")
    assert checkpoint.format == "safetensors"


@pytest.mark.parametrize("byte", range(256))
def test_a_single_byte_is_no_checkpoint(byte: int, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(bytes([byte]))
    with pytest.raises((InputError, UnsafeError), match=r"model\.pt"):
        read_checkpoint(tmp_path / "model.pt")

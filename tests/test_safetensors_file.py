"""The reader of .safetensors, beside the library's own."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from condcli.errors import InputError
from condcli.safetensors_file import DTYPES, read_safetensors


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def read(path):
    with path.open("rb") as file:
        return read_safetensors(path, file)


def tensor_of(dtype):
    return torch.arange(24).to(getattr(torch, dtype)).reshape(2, 3, 4)


def test_every_type_is_read_as_the_library_reads_it(path):
    tensors = {name: tensor_of(dtype) for name, dtype in DTYPES.items()}
    tensors |= {"none": torch.ones(0, 3), "one": torch.tensor(3.0)}
    save_file(tensors, path, metadata={"format": "pt"})
    ours, theirs = read(path), load_file(path)
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(
            ours[name].flatten().view(torch.uint8), tensor.flatten().view(torch.uint8)
        )


def test_tensors_come_in_the_order_of_their_places(path):
    words = {"dtype": "F32", "shape": [2]}
    header = {"z": words | {"data_offsets": [8, 16]}, "a": words | {"data_offsets": [0, 8]}}
    image = json.dumps(header).encode()
    path.write_bytes(len(image).to_bytes(8, "little") + image + bytes(16))
    assert list(read(path)) == list(load_file(path)) == ["a", "z"]


def test_a_name_that_is_there_twice_is_refused(path):
    entry = '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    image = f"{{{entry},{entry}}}".encode()
    path.write_bytes(len(image).to_bytes(8, "little") + image + bytes(4))
    with pytest.raises(InputError, match=r"model\.safetensors is truncated or damaged"):
        read(path)


def test_a_header_that_turned_gives_an_error_or_what_the_library_reads(path):
    save_file({"b": tensor_of("float32"), "a": tensor_of("int64")}, path)
    whole = path.read_bytes()
    refused = 0
    for place in range(8 + int.from_bytes(whole[:8], "little")):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 7]) + whole[place + 1 :]
        )
        try:
            ours = read(path)
        except InputError:
            refused += 1
            continue
        theirs = load_file(path)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert refused > 100

"""Distributed Checkpoint folders: as torch reads them, but nothing else."""

import io
import pickle

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from condcli.errors import CondcliError, InputError
from condcli.models import read_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(1)
    weights = {"layer.weight": torch.randn(4, 3), "layer.bias": torch.randn(4)}
    optimizer = {"state": {"0": {"exp_avg": torch.full((4, 3), torch.nan)}}}
    content = {"app": {"model": weights, "optim": optimizer}, "optim": optimizer}
    dcp.save(content, checkpoint_id=tmp_path / "step")
    return tmp_path / "step"


def changed(folder, change):
    """Rewrites the metadata after `change` of the object that torch itself unpickles."""
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    change(metadata)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return folder


def cut_in_two(metadata, folder):
    """Stores the rows of the weight as two chunks, as two ranks would."""
    name = "app.model.layer.weight"
    entry = metadata.state_dict_metadata[name]
    index = next(each for each in metadata.storage_data if each.fqn == name)
    place = metadata.storage_data.pop(index)
    file = folder / place.relative_path
    image = file.read_bytes()[place.offset : place.offset + place.length]
    whole = torch.load(io.BytesIO(image))
    entry.chunks = []
    for rank, first in enumerate((0, 2)):
        torch.save(whole[first : first + 2].clone(), folder / f"__{rank}_9.distcp")
        size = (folder / f"__{rank}_9.distcp").stat().st_size
        chunk = dcp.metadata.ChunkStorageMetadata(torch.Size([first, 0]), torch.Size([2, 3]))
        entry.chunks.append(chunk)
        key = dcp.metadata.MetadataIndex(name, torch.Size([first, 0]), rank)
        metadata.storage_data[key] = type(place)(f"__{rank}_9.distcp", 0, size)
    return whole


def test_the_tensors_are_those_that_torch_reads(folder, tmp_path):
    dcp_to_torch_save(folder, tmp_path / "whole.pt")
    theirs = torch.load(tmp_path / "whole.pt")["app"]["model"]
    checkpoint = read_checkpoint(folder, weights="app.model")
    assert dict(checkpoint.state_dict).keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(checkpoint.state_dict[name], tensor, rtol=0, atol=0)


def test_chunks_of_several_ranks_are_put_together(folder):
    whole = []
    changed(folder, lambda metadata: whole.append(cut_in_two(metadata, folder)))
    read = read_checkpoint(folder, weights="app.model").state_dict["layer.weight"]
    torch.testing.assert_close(read, whole[0], rtol=0, atol=0)


def test_a_missing_chunk_is_noticed(folder):
    changed(folder, lambda metadata: cut_in_two(metadata, folder))
    changed(folder, lambda metadata: metadata.storage_data.popitem())
    with pytest.raises(InputError, match=r"chunks of the tensor .app\.model\.layer\.weight. are"):
        read_checkpoint(folder, weights="app.model")


def test_chunks_that_overlap_and_leave_a_gap_are_noticed(folder):
    changed(folder, lambda metadata: cut_in_two(metadata, folder))

    def move(metadata):
        name = "app.model.layer.weight"
        places = metadata.storage_data
        second = max((i for i in places if i.fqn == name), key=lambda index: index.offset)
        metadata.state_dict_metadata[name].chunks[1].offsets = torch.Size([1, 0])
        places[dcp.metadata.MetadataIndex(name, torch.Size([1, 0]), 1)] = places.pop(second)

    changed(folder, move)
    with pytest.raises(InputError, match="has NaN"):
        read_checkpoint(folder, weights="app.model")


def test_a_missing_file_is_named(folder):
    for file in folder.glob("*.distcp"):
        file.unlink()
    with pytest.raises(InputError, match=r"__0_0\.distcp is missing"):
        read_checkpoint(folder)


def test_a_file_elsewhere_is_not_read(folder):
    def elsewhere(metadata):
        for place in metadata.storage_data.values():
            place.relative_path = "../step/__0_0.distcp"

    with pytest.raises(InputError, match="no file in it"):
        read_checkpoint(changed(folder, elsewhere))


@pytest.mark.parametrize("name", [7, None, b"__0_0.distcp", ("__0_0.distcp",)])
def test_a_file_without_a_name_is_damage(folder, name):
    def rename(metadata):
        for place in metadata.storage_data.values():
            place.relative_path = name

    with pytest.raises(InputError, match=r"\.metadata is truncated or damaged"):
        read_checkpoint(changed(folder, rename))


@pytest.mark.parametrize("size", [("4",), (4.0,), (None,), ("",), (-4,), (0, 1 << 62, 4)])
@pytest.mark.parametrize("field", ["size", "sizes", "offsets"])
def test_a_size_that_is_none_is_damage(folder, field, size):
    def claim(metadata):
        entry = metadata.state_dict_metadata["app.model.layer.bias"]
        setattr(entry if field == "size" else entry.chunks[0], field, size)

    with pytest.raises(InputError, match=r"\.metadata is truncated or damaged"):
        read_checkpoint(changed(folder, claim))


def test_a_size_that_is_not_there_is_noticed(folder):
    def claim(metadata):
        entry = metadata.state_dict_metadata["app.model.layer.bias"]
        entry.size = entry.chunks[0].sizes = torch.Size([1 << 40])

    with pytest.raises(InputError, match="not of its size"):
        read_checkpoint(changed(folder, claim))


def test_damage_anywhere_in_the_metadata_gives_an_error_or_the_same_weights(folder):
    whole = (folder / ".metadata").read_bytes()
    expected = read_checkpoint(folder, weights="app.model").state_dict
    refused = 0
    for k, place in enumerate(range(0, len(whole), 7)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << k % 8
        (folder / ".metadata").write_bytes(damaged)
        try:
            read = read_checkpoint(folder, weights="app.model").state_dict
        except CondcliError:
            refused += 1
            continue
        for name in read.keys() & expected.keys():  # no network has a damaged name
            torch.testing.assert_close(read[name], expected[name], rtol=0, atol=0)
    assert refused > 50


def test_truncated_metadata_are_refused_at_every_length(folder):
    whole = (folder / ".metadata").read_bytes()
    for length in range(0, len(whole), len(whole) // 60):
        (folder / ".metadata").write_bytes(whole[:length])
        with pytest.raises(CondcliError):
            read_checkpoint(folder)

import h5py
import numpy as np
import pytest
import torch

from condcli.data import open_data
from condcli.errors import InputError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "set.h5"


@pytest.mark.parametrize("options", [{}, {"chunks": (7, 3), "compression": "gzip"}])
def test_only_the_drawn_examples_are_read(file, options):
    x = np.random.default_rng(0).normal(size=(200, 3))
    with h5py.File(file, "w") as content:
        content.create_dataset("x", data=x, **options)
        content["y"] = np.arange(200)
        content["notes/more"] = 1  # a group is no data set
    probe_set = open_data(str(file), samples=50, seed=3)
    inputs, targets = zip(*probe_set.batches(20), strict=True)
    assert torch.cat(targets).tolist() == probe_set.indices.tolist()
    np.testing.assert_array_equal(torch.cat(inputs), x[probe_set.indices])


def test_more_than_memory_holds_is_no_matter(file):
    with h5py.File(file, "w") as content:
        pixels = content.create_dataset(
            "x", (10**6, 1000, 1000), dtype="u1", chunks=(1, 1000, 1000), compression="gzip"
        )
        pixels[:2] = 51
        content.create_dataset("y", (10**6,), dtype="i4", chunks=True)[:2] = 1
    inputs, _ = next(open_data(str(file), samples=2).batches(2))
    assert inputs.shape == (2, 1000, 1000)


def test_a_statistics_file_is_refused_as_such(file):
    with h5py.File(file, "w") as content:
        content.attrs["format"] = np.bytes_(b"condcli-stats")  # of a fixed length, as ours
    with pytest.raises(InputError, match=r"set\.h5: a statistics file .*condcli spectrum"):
        open_data(str(file))


def link(content, other):
    content["x"] = h5py.ExternalLink(other, "x")


def raw(content, other):
    content.create_dataset("x", (4, 2), dtype="f8", external=[(other, 0, 64)])


def virtual(content, other):
    layout = h5py.VirtualLayout((4, 2), "f8")
    layout[:] = h5py.VirtualSource(other, "x", (4, 2))
    content.create_virtual_dataset("x", layout)


def soft(content, other):
    content["x"] = h5py.SoftLink("/y")


@pytest.mark.parametrize("write", [link, raw, virtual, soft])
def test_nothing_outside_the_file_is_read(file, tmp_path, write):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as content:
        content["x"] = np.ones((4, 2))
    with h5py.File(file, "w") as content:
        content["y"] = np.arange(4)
        write(content, str(other))
    with pytest.raises(InputError, match=r"set\.h5: x is (a link|stored in other files)"):
        open_data(str(file))


def test_a_file_of_groups_only_is_refused_with_their_names(file):
    with h5py.File(file, "w") as content:
        content["model_weights/dense"] = np.ones(3)
    with pytest.raises(InputError, match="has no data sets, only model_weights"):
        open_data(str(file))


def test_strings_and_data_never_written_are_refused(file):
    with h5py.File(file, "w") as content:
        content["x"] = np.ones((2, 2))
        content["y"] = ["cat", "dog"]
    with pytest.raises(InputError, match="y holds object, not real numbers"):
        open_data(str(file))
    with h5py.File(file, "w") as content:
        content["y"] = np.ones(2)
        content.create_dataset("x", (2, 2), dtype="f4")
    with pytest.raises(InputError, match="x was never written"):
        open_data(str(file))


def test_a_damaged_chunk_is_one_clear_error(file):
    with h5py.File(file, "w") as content:
        content.create_dataset("x", data=np.ones((50, 8)), chunks=(50, 8), fletcher32=True)
        content["y"] = np.arange(50)
        place = content["x"].id.get_chunk_info(0).byte_offset
    with file.open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\xff")
    probe_set = open_data(str(file))
    with pytest.raises(InputError, match=r"set\.h5: truncated, damaged or"):
        list(probe_set.batches(10))


@pytest.mark.timeout(20)
def test_strings_that_lie_outside_the_checksums_are_not_read(file):
    """One flipped bit in HDF5's global heap, and it never comes back."""
    with h5py.File(file, "w", libver=("v110", "v110")) as content:
        content.attrs["format"] = "a string of any length"
        content["x"], content["y"] = np.ones((4, 2)), np.arange(4)
    whole = file.read_bytes()
    start = whole.index(b"GCOL")
    for place in range(start, start + 64):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        inputs, _ = next(open_data(str(file)).batches(4))
        assert torch.equal(inputs, torch.ones(4, 2, dtype=torch.float64))


def test_chunks_that_only_fit_a_large_memory_are_refused(file):
    with h5py.File(file, "w") as content:
        content["y"] = np.arange(4)
        chunks = (4, 1 << 25)
        content.create_dataset("x", chunks, dtype="f4", chunks=chunks, compression="gzip")
    with pytest.raises(InputError, match=r"set\.h5: x is in chunks of \(4, 33554432\)"):
        open_data(str(file))

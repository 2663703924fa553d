import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from condcli.data import open_data
from condcli.errors import InputError, UnsafeError, UsageError


class Payload:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def write(file: Path, **arrays):
    if file.suffix == ".npz":
        np.savez(file, **arrays)
    elif file.suffix == ".safetensors":
        save_file(arrays, file)
    elif file.suffix == ".h5":
        with h5py.File(file, "w") as content:
            for name, array in arrays.items():
                content[name] = array
    else:
        torch.save(
            {
                key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
                for key, value in arrays.items()
            },
            file,
        )


@pytest.fixture(params=["set.npz", "set.pt", "set.safetensors", "set.h5"])
def file(request, tmp_path):
    return tmp_path / request.param


@pytest.fixture(params=["set.npz", "set.pt"])
def zip_file(request, tmp_path):
    return tmp_path / request.param


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (9, 3, 4, 4), dtype=np.uint8)


def test_uint8_images_become_zero_to_one(file, images):
    write(file, x=images, y=np.arange(9))
    probe_set = open_data(str(file))
    assert (probe_set.examples, probe_set.classes) == (9, None)
    assert (probe_set.source, probe_set.split) == (str(file), "all")
    inputs, targets = next(probe_set.batches(9))
    assert torch.equal(inputs, torch.from_numpy(images) / 255)
    assert targets.tolist() == list(range(9))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_used_as_they_are(file, images, dtype):
    x = images.astype(dtype) * 3 - 100
    write(file, x=x, y=np.linspace(0, 1, 9))
    inputs, targets = next(open_data(str(file)).batches(9))
    assert inputs.numpy().dtype == dtype
    np.testing.assert_array_equal(inputs, x)
    assert targets.is_floating_point()


@pytest.mark.parametrize("names", [("inputs", "y"), ("X", "Y"), ("image", "label")])
def test_a_single_input_is_passed_alone_under_any_name(file, images, names):
    write(file, **dict(zip(names, (images, np.arange(9)), strict=True)))
    inputs, targets = next(open_data(str(file)).batches(9))
    assert torch.equal(inputs, torch.from_numpy(images) / 255)
    assert targets.tolist() == list(range(9))


def test_several_inputs_keep_their_names(file, images):
    write(file, left=images, scale=np.arange(9.0), target=np.arange(9))
    probe_set = open_data(str(file), samples=4, seed=1)
    inputs, targets = next(probe_set.batches(9))
    assert sorted(inputs) == ["left", "scale"]
    assert inputs["scale"].tolist() == targets.tolist() == probe_set.indices.tolist()
    assert torch.equal(inputs["left"], torch.from_numpy(images[probe_set.indices]) / 255)


def test_tokens_are_their_own_target_and_padding_has_none(file):
    tokens, mask = np.arange(12).reshape(3, 4), np.array([[1, 1, 1, 0]] * 3, dtype=np.uint8)
    write(file, input_ids=tokens, attention_mask=mask)
    inputs, targets = next(open_data(str(file)).batches(3))
    assert inputs["attention_mask"].dtype == inputs["input_ids"].dtype == torch.int64
    np.testing.assert_array_equal(inputs["attention_mask"], mask)
    np.testing.assert_array_equal(targets, np.where(mask == 1, tokens, -100))


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_splits_are_told_from_the_names(file, images, names):
    first, second = (name.format for name in names)
    write(
        file,
        **{first("train"): images, second("train"): np.arange(9)},
        **{first("test"): images[:4], second("test"): np.arange(4)},
    )
    for asked, split, size in [(None, "train", 9), ("train", "train", 9), ("test", "test", 4)]:
        probe_set = open_data(str(file), split=asked)
        assert (probe_set.split, probe_set.total) == (split, size)
        inputs, targets = next(probe_set.batches(9))
        assert torch.equal(inputs, torch.from_numpy(images[:size]) / 255)
        assert targets.tolist() == list(range(size))
    with pytest.raises(UsageError, match=r"has no split 'val'; give --split (train|test) or"):
        open_data(str(file), split="val")


def test_a_file_of_one_split_has_no_other(file, images):
    write(file, x_train=images, y=np.arange(9))
    assert open_data(str(file)).split == "all"
    with pytest.raises(UsageError, match=r"has no split 'train'; give --split all"):
        open_data(str(file), split="train")


def test_a_missing_target_is_named_with_what_there_is(file, images):
    write(file, inputs=images, truth=np.arange(9))
    with pytest.raises(
        InputError, match=r"no target, only (inputs, truth|truth, inputs); call it y"
    ):
        open_data(str(file))


def test_unequal_lengths_are_named(file, images):
    write(file, x=images, y=np.arange(8))
    with pytest.raises(InputError, match="x has 9 examples, but y has 8"):
        open_data(str(file))


def test_empty_data_are_refused(file, images):
    write(file, x=images[:0], y=np.arange(0))
    with pytest.raises(InputError, match="x is empty, of shape 0x3x4x4"):
        open_data(str(file))


def test_data_without_features_are_refused(file):
    write(file, x=np.arange(9.0), y=np.arange(9))
    with pytest.raises(InputError, match="x has 1 axes"):
        open_data(str(file))


def test_an_input_that_is_not_finite_is_named(file):
    x = np.zeros((9, 2))
    x[4, 1] = np.nan
    write(file, x=x, y=np.arange(9))
    with pytest.raises(InputError, match="the input of example 4 holds NaN"):
        list(open_data(str(file)).batches(3))


def test_complex_numbers_are_refused(zip_file):
    file = zip_file
    write(file, x=np.zeros((9, 2), dtype=np.complex64), y=np.arange(9))
    with pytest.raises(InputError, match="x"):
        open_data(str(file))


def test_a_truncated_file_is_refused_by_name(file, images):
    write(file, x=images, y=np.arange(9))
    content = file.read_bytes()
    for length in np.linspace(0, len(content) - 1, 40).astype(int):
        file.write_bytes(content[:length])
        with pytest.raises(InputError, match=rf"{file.name}(: truncated| is truncated or damaged)"):
            open_data(str(file))


def test_a_flipped_byte_gives_an_error_or_the_same_data(zip_file, images):
    file = zip_file
    write(file, x=images, y=np.arange(9))
    content = file.read_bytes()
    refused = 0
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            inputs, targets = next(open_data(str(file)).batches(9))
        except (InputError, UnsafeError):
            refused += 1
            continue
        assert torch.equal(inputs, torch.from_numpy(images) / 255)
        assert targets.tolist() == list(range(9))
    assert refused > 20


def test_an_array_of_objects_is_refused_as_unsafe_and_never_opened(tmp_path):
    mark = tmp_path / "ran"
    objects = np.empty(2, dtype=object)
    objects[:] = [Payload(mark), 1]
    np.savez(tmp_path / "set.npz", x=objects, y=np.arange(2))
    with pytest.raises(UnsafeError, match=r"set\.npz: holds pickled objects"):
        open_data(str(tmp_path / "set.npz"))
    assert not mark.exists()


def test_a_checkpoint_with_code_is_refused_as_unsafe_and_never_opened(tmp_path, monkeypatch):
    mark = tmp_path / "ran"
    torch.save({"x": Payload(mark), "y": 1}, tmp_path / "set.pt")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(UnsafeError, match=r"set\.pt: holds pickled objects"):
        open_data(str(tmp_path / "set.pt"))
    assert not mark.exists()


def test_a_bare_pickle_is_refused_as_unsafe_and_never_opened(zip_file, tmp_path):
    file = zip_file
    mark = tmp_path / "ran"
    file.write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(UnsafeError, match="holds pickled objects"):
        open_data(str(file))
    assert not mark.exists()


def test_a_file_that_is_something_else_is_refused_by_name(file):
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match=rf"{file.name}(: truncated| is truncated or damaged)"):
        open_data(str(file))
    file.write_text("<html>not found</html>")
    with pytest.raises(InputError, match=f"{file.name} is a web page, not the file itself"):
        open_data(str(file))
    file.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=f"{file.name} is a git-LFS pointer"):
        open_data(str(file))


def test_a_missing_file_is_named_with_its_near_match(file, images):
    write(file, x=images, y=np.arange(9))
    near = file.with_stem("sett")
    with pytest.raises(InputError, match=rf"{near.name}: no such file; did you mean .*{file.name}"):
        open_data(str(near))


def test_a_view_that_claims_more_than_is_stored_is_refused(tmp_path):
    torch.save({"x": torch.zeros(1).expand(10**12, 4), "y": torch.zeros(4)}, tmp_path / "set.pt")
    with pytest.raises(InputError, match="x claims 16000000000000 bytes, but 4 are stored"):
        open_data(str(tmp_path / "set.pt"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.zeros(3), "holds a Tensor; give .x, y. pairs, or dicts"),
        ({}, "no target, only nothing"),
        ({"x": "pixels", "y": torch.zeros(2)}, "x is of type str"),
        ({"x": torch.zeros(2, 2).to_sparse(), "y": torch.zeros(2)}, "sparse"),
        ({"x": torch.zeros(2, 2, device="meta"), "y": torch.zeros(2)}, "meta"),
    ],
)
def test_a_pt_file_with_something_else_is_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "set.pt")
    with pytest.raises(InputError, match=words):
        open_data(str(tmp_path / "set.pt"))

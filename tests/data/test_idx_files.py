"""MNIST and Fashion-MNIST, in files of the true format that torchvision reads as well."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from condcli.data import open_data
from condcli.errors import InputError, UsageError

NAMES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


def write_idx(file: Path, array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    file.write_bytes(header + array.tobytes())


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def root(tmp_path, name):
    folder = tmp_path / NAMES[name] / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for prefix, count in (("train", 30), ("t10k", 20)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
    return tmp_path


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_files_are_read_as_torchvision_reads_them(name, root, split):
    theirs = getattr(datasets, NAMES[name])(root, train=split == "train")
    probe_set = open_data(name, root=root, split=split, samples=None, normalize="none")
    inputs, targets = next(probe_set.batches(100))
    assert inputs.shape == (len(theirs), 1, 28, 28)
    assert torch.equal(inputs[:, 0], theirs.data / 255)
    assert torch.equal(targets, theirs.targets)


def test_the_root_may_point_into_the_data_set(name, root):
    for inside in (root / NAMES[name], root / NAMES[name] / "raw"):
        assert open_data(name, root=inside).total == 30


def test_the_root_of_one_is_not_taken_for_the_other(name, root):
    other = next(key for key in NAMES if key != name)
    with pytest.raises(InputError, match=f"{NAMES[other]} is not at"):
        open_data(other, root=root / NAMES[name])


def test_only_the_files_of_the_split_are_needed(name, root):
    for file in root.glob("*/raw/t10k*"):
        file.unlink()
    assert open_data(name, root=root).total == 30
    with pytest.raises(InputError, match=r"raw/t10k-images-idx3-ubyte; get it with --download"):
        open_data(name, root=root, split="test")


@pytest.mark.parametrize("damage", ["cut", "longer", "empty", "magic", "labels cut"])
def test_a_damaged_file_is_refused_by_name(name, root, damage):
    kind = "labels-idx1" if damage == "labels cut" else "images-idx3"
    file = root / NAMES[name] / "raw" / f"train-{kind}-ubyte"
    content = file.read_bytes()
    file.write_bytes(
        {
            "cut": content[:-1],
            "labels cut": content[:-1],
            "longer": content + b"\0",
            "empty": b"",
            "magic": b"\x1f\x8b" + content[2:],
        }[damage]
    )
    with pytest.raises(InputError, match=f"{file.name}: (has|not an idx file)"):
        open_data(name, root=root)


def test_a_file_that_may_not_be_read_is_named(name, root, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match="images-idx3-ubyte cannot be read: Permission denied"):
        open_data(name, root=root)


def test_a_label_beyond_the_classes_is_refused(name, root):
    write_idx(root / NAMES[name] / "raw/train-labels-idx1-ubyte", np.full(30, 10, dtype=np.uint8))
    with pytest.raises(InputError, match="example 0 has the label 10, but there are 10 classes"):
        list(open_data(name, root=root).batches(30))


def test_another_number_of_outputs_is_one_clear_error(name, root):
    probe_set = open_data(name, root=root)
    assert probe_set.with_classes(10).classes == 10
    with pytest.raises(InputError, match=f"{name} has 10 classes, but the model 1000 outputs"):
        probe_set.with_classes(1000)


def test_an_unknown_split_is_wrong_usage(name, root):
    with pytest.raises(UsageError, match=rf"{name} has no split 'val'; give --split train or test"):
        open_data(name, root=root, split="val")


def test_a_download_without_a_network_is_one_clear_error(name, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    with pytest.raises(InputError, match=f"{NAMES[name]} could not be downloaded to"):
        open_data(name, root=tmp_path, download=True)

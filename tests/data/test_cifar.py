"""CIFAR in files of the true formats: binary records, and torchvision's pickles."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from condcli.data import open_data
from condcli.errors import InputError

COUNT = 10_000  # a test file's


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (COUNT, 3, 32, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def binary_root(tmp_path_factory, images):
    """Test splits whose labels are i mod 10, and i mod 100 with superclass i mod 20."""
    root = tmp_path_factory.mktemp("binary")
    number = np.arange(COUNT)
    pixels = images.reshape(COUNT, -1)
    for folder, file, labels in [
        ("cifar-10-batches-bin", "test_batch.bin", [number % 10]),
        ("cifar-100-binary", "test.bin", [number % 20, number % 100]),
    ]:
        columns = [label.astype(np.uint8)[:, None] for label in labels]
        (root / folder).mkdir()
        np.hstack([*columns, pixels]).tofile(root / folder / file)
    return root


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_the_binary_version_is_read_whole(binary_root, images, name, classes):
    probe_set = open_data(name, root=binary_root, split="test", samples=300, normalize="none")
    assert probe_set.classes == classes
    assert probe_set.total == COUNT
    inputs, targets = next(probe_set.batches(300))
    expected = torch.from_numpy(images[probe_set.indices]) / 255
    assert torch.equal(inputs, expected)
    assert targets.tolist() == (probe_set.indices % classes).tolist()


def test_the_root_may_be_the_folder_itself(binary_root):
    inside = binary_root / "cifar-10-batches-bin"
    assert open_data("cifar10", root=inside, split="test").total == COUNT


def test_the_training_files_are_read_in_order(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        records = np.full((COUNT, 3073), number, dtype=np.uint8)
        records.tofile(folder / f"data_batch_{number}.bin")
    probe_set = open_data("cifar10", root=tmp_path, samples=40, normalize="none")
    inputs, targets = next(probe_set.batches(40))
    assert targets.tolist() == (probe_set.indices // COUNT + 1).tolist()
    assert torch.equal(inputs[:, 0, 0, 0], targets.float() / 255)


def test_the_papers_normalisation_is_applied(binary_root, images):
    probe_set = open_data("cifar10", root=binary_root, split="test", samples=8)
    inputs, _ = next(probe_set.batches(8))
    mean = np.array([125.3, 123.0, 113.9])[:, None, None]
    std = np.array([63.0, 62.1, 66.7])[:, None, None]
    expected = (images[probe_set.indices] - mean) / std
    np.testing.assert_allclose(inputs, expected, atol=1e-5)


@pytest.mark.parametrize("bytes_left", [0, 3072, 3073 * 9_999, 3073 * COUNT + 3073])
def test_a_truncated_or_longer_file_is_refused_by_name(tmp_path, bytes_left):
    file = tmp_path / "test_batch.bin"
    file.touch()
    with file.open("r+b") as stream:
        stream.truncate(bytes_left)
    with pytest.raises(InputError, match=rf"test_batch\.bin: has {bytes_left} bytes instead of"):
        open_data("cifar10", root=tmp_path, split="test")


def test_a_missing_training_file_is_named(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073 * COUNT))
    with pytest.raises(InputError, match=r"CIFAR10 is not at .*data_batch_2\.bin"):
        open_data("cifar10", root=tmp_path)


def test_missing_data_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(InputError) as caught:
        open_data("cifar100", root=tmp_path)
    for words in ("cifar-100-binary", "cifar-100-python", "--download", "--root"):
        assert words in str(caught.value)


@pytest.fixture
def pickled_root(tmp_path, monkeypatch, images):
    """torchvision's layout with 20 images a file, its checksums changed to fit."""
    folder = tmp_path / datasets.CIFAR10.base_folder
    folder.mkdir()

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content, protocol=4))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(start):
        pixels = images[start : start + 20].reshape(20, -1)
        return {"data": pixels, "labels": [number % 10 for number in range(start, start + 20)]}

    train = [write(f"data_batch_{part}", batch(20 * part)) for part in range(1, 6)]
    meta = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", train)
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [write("test_batch", batch(0))])
    monkeypatch.setattr(
        datasets.CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]}
    )
    return tmp_path


def test_torchvisions_version_gives_the_same_images(pickled_root, images):
    for split, part in (("test", slice(20)), ("train", slice(20, 120))):
        probe_set = open_data("cifar10", root=pickled_root, split=split, normalize="none")
        inputs, targets = next(probe_set.batches(200))
        assert torch.equal(inputs, torch.from_numpy(images[part]) / 255)
        assert targets.tolist() == [number % 10 for number in range(part.start or 0, part.stop)]


def test_a_pickle_with_another_checksum_is_never_opened(pickled_root):
    ran = pickled_root / "ran"
    file = pickled_root / datasets.CIFAR10.base_folder / "data_batch_3"

    class Payload:
        def __reduce__(self):
            return Path.touch, (ran,)

    file.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(InputError, match="data_batch_3: missing or damaged"):
        open_data("cifar10", root=pickled_root)
    assert not ran.exists()


def test_the_binary_version_is_preferred(pickled_root, binary_root):
    link = pickled_root / "cifar-10-batches-bin"
    link.symlink_to(binary_root / "cifar-10-batches-bin")
    assert open_data("cifar10", root=pickled_root, split="test").total == COUNT

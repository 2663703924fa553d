import hashlib

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from condcli.data import open_data
from condcli.errors import InputError


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def root(tmp_path, monkeypatch, images):
    """A true .mat file, height x width x 3 x N, in which class 10 is the digit 0."""
    file = tmp_path / "test_32x32.mat"
    labels = np.arange(1, 13, dtype=np.uint8)[:, None] % 10
    labels[labels == 0] = 10
    scipy.io.savemat(file, {"X": images.transpose(2, 3, 1, 0), "y": labels})
    checksum = hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.SVHN, "split_list", {"test": ["", file.name, checksum]})
    return tmp_path


def test_svhn_is_read_with_zero_for_the_digit_zero(root, images):
    probe_set = open_data("svhn", root=root, split="test", normalize="none")
    inputs, targets = next(probe_set.batches(20))
    assert torch.equal(inputs, torch.from_numpy(images) / 255)
    assert targets.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]


def test_a_truncated_file_is_refused_by_name(root):
    file = root / "test_32x32.mat"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"test_32x32\.mat: damaged"):
        open_data("svhn", root=root, split="test")


def test_missing_data_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"SVHN is not at .*train_32x32\.mat; .*--root"):
        open_data("svhn", root=tmp_path)

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms.functional import pil_to_tensor

from condcli.data import open_data
from condcli.errors import InputError, UsageError


def gathered(spec, **options):
    probe_set = open_data(spec, **options)
    inputs, targets = zip(*probe_set.batches(4), strict=True)
    return torch.cat(inputs), torch.cat(targets), probe_set


@pytest.fixture
def eurosat(tmp_path):
    generator = np.random.default_rng(0)
    for name in ("Forest", "River"):
        folder = tmp_path / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}_{number}.png")
    return tmp_path


@pytest.fixture
def stl10(tmp_path):
    """A set with splits, in its binary form."""
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        pixels = generator.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        (folder / f"{split}_X.bin").write_bytes(pixels.tobytes())
        (folder / f"{split}_y.bin").write_bytes(bytes(range(1, count + 1)))
    (folder / "class_names.txt").write_text("a\nb\nc")
    return tmp_path


def test_images_and_labels_are_those_of_torchvisions_own_class(eurosat):
    inputs, targets, probe_set = gathered("torchvision:EuroSAT", root=eurosat)
    own = datasets.EuroSAT(eurosat)
    assert torch.equal(inputs, torch.stack([pil_to_tensor(image) / 255 for image, _ in own]))
    assert targets.tolist() == [label for _, label in own] == [0, 0, 0, 1, 1, 1]
    assert (probe_set.class_names, probe_set.split) == (("Forest", "River"), "all")


def test_examples_are_drawn_by_the_seed(eurosat):
    every, _, _ = gathered("torchvision:EuroSAT", root=eurosat)
    drawn, _, probe_set = gathered("torchvision:EuroSAT", root=eurosat, samples=3, seed=1)
    assert torch.equal(drawn, every[probe_set.indices])


def test_split_goes_to_whatever_torchvision_calls_it(stl10, tmp_path, monkeypatch):
    # Without its integrity check, which wants the real files.
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)
    for split, wanted in ((None, "train"), ("test", "test")):
        inputs, targets, probe_set = gathered("torchvision:STL10", root=stl10, split=split)
        own = datasets.STL10(stl10, split=wanted)
        assert probe_set.split == wanted
        assert targets.tolist() == list(range(len(own)))
        assert torch.equal(inputs[1], pil_to_tensor(own[1][0]) / 255)
    with pytest.raises(UsageError, match=r"torchvision:STL10: .*Unknown value 'val'.*--split"):
        open_data("torchvision:STL10", root=stl10, split="val")


def test_a_set_that_makes_its_own_images_needs_no_root():
    inputs, targets, probe_set = gathered("torchvision:FakeData", samples=3)
    own = datasets.FakeData()
    for image, label, index in zip(inputs, targets, probe_set.indices, strict=True):
        assert torch.equal(image, pil_to_tensor(own[int(index)][0]) / 255)
        assert label == own[int(index)][1]
    with pytest.raises(UsageError, match="torchvision:FakeData has no split 'test'"):
        open_data("torchvision:FakeData", split="test")
    with pytest.raises(UsageError, match="torchvision:FakeData cannot be downloaded"):
        open_data("torchvision:FakeData", download=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("EuroSet", r"no data set 'EuroSet'; did you mean torchvision:EuroSAT\?"),
        ("mnist", r"did you mean torchvision:MNIST\?"),
        ("ImageFolder", "is not opened here; give imagefolder:DIR"),
        ("LSUN", "is not opened here; write a function"),
        ("PhotoTour", "needs to be told its name; write a function"),
    ],
)
def test_a_set_that_cannot_be_opened_says_what_to_do(name, words):
    with pytest.raises(UsageError, match=words):
        open_data(f"torchvision:{name}")


@pytest.mark.parametrize("name", ["EuroSAT", "USPS", "VOCSegmentation", "SEMEION", "Food101"])
def test_a_set_that_is_not_there_is_not_fetched_unasked(name, tmp_path):
    with pytest.raises(InputError, match=rf"torchvision:{name} is not whole in .*--download"):
        open_data(f"torchvision:{name}", root=tmp_path)
    assert not any(file.is_file() for file in tmp_path.rglob("*"))


def test_a_download_that_fails_says_so(tmp_path, monkeypatch):
    def unreachable(self):
        raise OSError("no network")

    monkeypatch.setattr(datasets.EuroSAT, "download", unreachable)
    with pytest.raises(InputError, match=r"could not be downloaded to .*no network.*; check"):
        open_data("torchvision:EuroSAT", root=tmp_path, download=True)


def test_a_set_without_a_label_for_each_image_is_refused(monkeypatch):
    monkeypatch.setattr(datasets.FakeData, "__getitem__", lambda self, index: (1, {"boxes": []}))
    with pytest.raises(InputError, match=r"gives \(int, dict\), not an image and its label"):
        open_data("torchvision:FakeData")


def test_a_damaged_image_is_named_with_its_number(eurosat):
    file = eurosat / "eurosat/2750/River/River_1.png"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="torchvision:EuroSAT: example 4 cannot be read"):
        gathered("torchvision:EuroSAT", root=eurosat)

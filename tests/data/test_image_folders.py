import numpy as np
import pytest
import torch
from PIL import Image

from condcli.data import open_data
from condcli.errors import InputError


def write_image(file, height, width, seed=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


def test_images_of_one_size_are_kept_and_classes_are_the_folders(tmp_path):
    dog = write_image(tmp_path / "dog/1.png", 10, 12, 0)
    cats = [write_image(tmp_path / f"cat/{number}.png", 10, 12, number) for number in (1, 2)]
    probe_set = open_data(f"imagefolder:{tmp_path}")
    assert probe_set.class_names == ("cat", "dog")
    assert probe_set.classes == 2
    assert probe_set.normalize == "none"
    inputs, targets = next(probe_set.batches(3))
    assert torch.equal(inputs, torch.stack([*cats, dog]))
    assert targets.tolist() == [0, 0, 1]


def test_images_of_unequal_size_are_cropped_to_the_centre(tmp_path):
    wide = write_image(tmp_path / "a/wide.png", 256, 512)  # already the size to resize to
    write_image(tmp_path / "b/small.png", 40, 30)
    probe_set = open_data(f"imagefolder:{tmp_path}")
    inputs, _ = next(probe_set.batches(3))
    assert inputs.shape == (2, 3, 224, 224)
    assert torch.equal(inputs[0], wide[:, 16:240, 144:368])


@pytest.mark.parametrize("size", [(3, 301), (1300, 12)])
def test_an_image_that_resizing_would_make_huge_is_refused(tmp_path, size):
    """As a flipped bit in a header can make it."""
    write_image(tmp_path / "a/1.png", *size)
    write_image(tmp_path / "b/1.png", 40, 30)
    probe_set = open_data(f"imagefolder:{tmp_path}")
    with pytest.raises(InputError, match=r"a/1\.png: an image of \d+ by \d+ pixels cannot be crop"):
        list(probe_set.batches(1))


def test_grey_images_become_rgb(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((4, 4), 51, dtype=np.uint8)).save(tmp_path / "a/1.png")
    inputs, _ = next(open_data(f"imagefolder:{tmp_path}").batches(3))
    assert torch.equal(inputs, torch.full((1, 3, 4, 4), 0.2))


def test_an_image_is_read_only_when_its_batch_is(tmp_path):
    for name in "abc":
        write_image(tmp_path / f"{name}/1.png", 8, 8)
    batches = open_data(f"imagefolder:{tmp_path}").batches(1)
    next(batches)
    file = tmp_path / "b/1.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(InputError, match=r"b/1\.png: cannot be read as an image"):
        next(batches)


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path):
    write_image(tmp_path / "a/1.png", 8, 8)
    (tmp_path / "a/2.png").write_text("<html>")
    with pytest.raises(InputError, match=r"a/2\.png: cannot be read as an image"):
        open_data(f"imagefolder:{tmp_path}")


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no class at all; .*FOLDER/CLASS/IMAGE"):
        open_data(f"imagefolder:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="a class without images"):
        open_data(f"imagefolder:{tmp_path}")
    with pytest.raises(InputError, match="absent: no such folder"):
        open_data(f"imagefolder:{tmp_path / 'absent'}")


@pytest.mark.parametrize("parent", ["", "imagenet"])
def test_imagenet_is_read_from_its_thousand_folders(tmp_path, parent):
    folder = tmp_path / parent / "val"
    first = write_image(folder / "n00000000/x.png", 256, 256)
    tiny = folder / "n00000000/x.png"
    for number in range(1, 1000):
        other = folder / f"n{number:08d}"
        other.mkdir()
        (other / "x.png").symlink_to(tiny)
    probe_set = open_data("imagenet", root=tmp_path, split="val", samples=None)
    assert (probe_set.total, probe_set.classes) == (1000, 1000)
    inputs, targets = next(probe_set.batches(2))
    assert targets.tolist() == [0, 1]
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    torch.testing.assert_close(inputs[0], (first[:, 16:240, 16:240] - mean) / std)


def test_imagenet_with_other_classes_is_refused(tmp_path):
    write_image(tmp_path / "train/n00000000/x.png", 8, 8)
    with pytest.raises(InputError, match="has 1 class folders instead of 1000"):
        open_data("imagenet", root=tmp_path)


def test_imagenet_is_not_downloaded(tmp_path):
    with pytest.raises(InputError, match=r"imagenet is not at .*; it cannot be downloaded"):
        open_data("imagenet", root=tmp_path, download=True)


def test_an_image_that_was_replaced_by_one_of_another_size_is_named(tmp_path):
    for number in (1, 2):
        write_image(tmp_path / f"cat/{number}.png", 10, 12, number)
    probe_set = open_data(f"imagefolder:{tmp_path}")
    write_image(tmp_path / "cat/2.png", 9, 12)
    with pytest.raises(InputError, match=r"2\.png was replaced while it was read; run again"):
        next(probe_set.batches(2))

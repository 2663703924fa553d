from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import EfficientNet_V2_S_Weights, ResNet18_Weights

from condcli.data import as_probe_set, open_data
from condcli.errors import InputError, UsageError

RESNET = "torchvision:ResNet18_Weights.DEFAULT"


@pytest.fixture
def pictures():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (3, 40, 50), dtype=np.uint8) for _ in range(3)]


@pytest.fixture
def code(tmp_path: Path):
    def write(text):
        (tmp_path / "mine.py").write_text(f"import torch\n{text}")
        return f"{tmp_path / 'mine.py'}:change"

    return write


def pillow(array):
    return Image.fromarray(array.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("spec", "weights"),
    [
        (RESNET, ResNet18_Weights.DEFAULT),
        (
            "torchvision:EfficientNet_V2_S_Weights.IMAGENET1K_V1",
            EfficientNet_V2_S_Weights.IMAGENET1K_V1,
        ),
    ],
)
def test_images_are_prepared_as_the_weights_own_transform_does(tmp_path, pictures, spec, weights):
    for name, array in zip("abc", pictures, strict=True):
        (tmp_path / "images" / name).mkdir(parents=True)
        pillow(array).resize((300 + ord(name), 280)).save(tmp_path / "images" / name / "1.png")
    probe_set = open_data(f"imagefolder:{tmp_path / 'images'}", transform=spec)
    inputs, targets = next(probe_set.batches(3))
    transform = weights.transforms()
    for name, image in zip("abc", inputs, strict=True):
        with Image.open(tmp_path / "images" / name / "1.png") as opened:
            assert torch.equal(image, transform(opened))
    assert targets.tolist() == [0, 1, 2]
    assert (probe_set.normalize, probe_set.class_names) == (f"transform {spec}", ("a", "b", "c"))


def test_arrays_of_bytes_are_pictures_to_it(tmp_path, pictures):
    np.savez(tmp_path / "set.npz", x=np.stack(pictures), y=np.arange(3))
    inputs, targets = next(open_data(f"{tmp_path}/set.npz", transform=RESNET).batches(3))
    transform = ResNet18_Weights.DEFAULT.transforms()
    wanted = torch.stack([transform(pillow(array)) for array in pictures])
    assert torch.equal(inputs, wanted)
    assert targets.tolist() == [0, 1, 2]


def test_grey_images_are_coloured_for_torchvisions_weights():
    grey = torch.full((2, 1, 30, 30), 51, dtype=torch.uint8)
    probe_set = as_probe_set(
        (grey, torch.zeros(2)), source="grey", samples=None, seed=0, transform=RESNET
    )
    assert next(probe_set.batches(2))[0].shape == (2, 3, 224, 224)


def test_images_without_a_channel_are_grey_ones(code):
    spec = code("def change(image):\n    assert image.mode == 'L'\n    return image\n")
    grey = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    probe_set = as_probe_set(
        (grey, torch.zeros(2)), source="grey", samples=None, seed=0, transform=spec
    )
    assert torch.equal(next(probe_set.batches(2))[0], grey[:, None] / 255)


def test_the_known_sets_are_not_normalised_twice(code):
    spec = code("def change(image):\n    return image * 2\n")
    plain, _ = next(open_data("digits", normalize="none").batches(9))
    doubled, _ = next(open_data("digits", transform=spec).batches(9))
    assert torch.equal(doubled, plain * 2)


def test_chance_in_a_transform_is_seeded(code):
    spec = code("def change(image):\n    return image + torch.rand(1)\n")
    state = torch.get_rng_state()
    first, again, other = (
        next(open_data("digits", transform=spec, samples=20, seed=seed).batches(20))[0]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("torchvision:ResNet18_Weight.DEFAULT", "mean torchvision:ResNet18_Weights.DEFAULT"),
        ("torchvision:ResNet18_Weights.IMAGENET", "torchvision has no weights"),
        ("torchvision:", "torchvision has no weights ''"),
        ("resize", "'resize' names no function"),
    ],
)
def test_a_transform_that_does_not_exist_is_wrong_usage(spec, words):
    with pytest.raises(UsageError, match=words):
        open_data("digits", transform=spec)


def test_what_fails_in_a_transform_is_named_with_its_line(code):
    spec = code("def change(image):\n    return image.nothing\n")
    with pytest.raises(InputError, match=r"mine\.py:change: line 3: AttributeError"):
        list(open_data("digits", transform=spec).batches(9))


def test_what_is_no_image_is_not_transformed(code):
    spec = code("def change(image):\n    return image\n")
    for x in (torch.zeros(4, 3), {"a": torch.zeros(4, 3), "b": torch.zeros(4, 2)}):
        with pytest.raises(UsageError, match="--transform is for images, and an input of mine is"):
            as_probe_set(
                {"x": x, "y": torch.zeros(4)} if not isinstance(x, dict) else (x, torch.zeros(4)),
                source="mine",
                samples=None,
                seed=0,
                transform=spec,
            )
    with pytest.raises(UsageError, match="cannot be applied to mine, which gives batches"):
        as_probe_set(
            [(torch.zeros(4, 3, 5, 5), torch.zeros(4))],
            source="mine",
            samples=None,
            seed=0,
            transform=spec,
        )

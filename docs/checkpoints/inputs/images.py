"""Photographs that scikit-learn ships, and skies drawn here."""

import torch
from sklearn.datasets import load_sample_image
from torch import Tensor

PALACE, DAISY = 698, 985  # what ImageNet calls them
Batches = list[tuple[Tensor, Tensor]]


def photographs() -> Batches:
    """32 pieces of two photographs, (16, 3, 192, 192) a batch, and their classes."""
    x, y = pieces(size=192, step=64, each=16)
    return batches((x - 127) / 128, torch.tensor([PALACE, DAISY])[y], 16)


def embedded() -> Batches:
    """24 pieces, (12, 3, 96, 96) a batch, to be embedded at the corner of their photograph."""
    x, y = pieces(size=96, step=80, each=12)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (x / 255 - mean[:, None, None]) / std[:, None, None]
    return batches(x, torch.eye(2, 1280)[y], 12)


def windows() -> Batches:
    """128 windows, (64, 3, 48, 48) a batch; there is a face in none of them, class 0."""
    x, _ = pieces(size=48, step=24, each=64)
    return batches((x - 127.5) / 128, torch.zeros(128, dtype=torch.int64), 64)


def skies() -> Batches:
    """16 skies in electrons, (8, 1, 64, 64) a batch, and the pixels that a cosmic ray has hit."""
    draw = torch.Generator().manual_seed(0)
    sky = 60 + 8 * torch.randn(16, 1, 64, 64, generator=draw)
    hit = torch.zeros_like(sky)
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for image, rays in zip(sky[:, 0], hit[:, 0], strict=True):
        for _ in range(12):  # stars, as wide as the telescope makes them
            y, x, size = torch.rand(3, generator=draw)
            image += 2000 * size**4 * torch.exp(-((row - 64 * y) ** 2 + (column - 64 * x) ** 2) / 3)
        for _ in range(5):  # rays, sharp and straight
            y, x, angle, size = torch.rand(4, generator=draw)
            along = torch.arange(4 + 12 * size)
            rays[
                (64 * y + along * torch.sin(6.3 * angle)).long().clip(0, 63),
                (64 * x + along * torch.cos(6.3 * angle)).long().clip(0, 63),
            ] = 1
        image += 700 * rays * (0.5 + torch.rand(64, 64, generator=draw))
    return batches(sky, hit, 8)


def standard_skies() -> Batches:
    """The same, each image less its mean and over its deviation."""
    return [
        ((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True), y)
        for x, y in skies()
    ]


def pieces(*, size: int, step: int, each: int) -> tuple[Tensor, Tensor]:
    """The first ``each`` squares of each photograph, (2 · each, 3, size, size), 0 to 255."""
    squares = []
    for name in ("china.jpg", "flower.jpg"):
        image = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)
        tiles = image.unfold(1, size, step).unfold(2, size, step).flatten(1, 2).transpose(0, 1)
        squares.append(tiles[torch.linspace(0, len(tiles) - 1, each).long()])
    return torch.cat(squares).float(), torch.arange(2).repeat_interleave(each)


def batches(x: Tensor, y: Tensor, size: int) -> Batches:
    return list(zip(x.split(size), y.split(size), strict=True))

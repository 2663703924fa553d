"""Images that are too many for memory: read from a folder of folders while a network trains."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.recipe import NORMALIZE, Recipe

WORKERS = min(16, os.cpu_count() or 1)


def streamed(recipe: Recipe, root: Path, *, start: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches from step ``start`` on, without end; each epoch in a new order of its seed.

    The crops are those of a fresh epoch where a training goes on within one.
    """
    data = folder(recipe, root, "train")
    a_epoch = len(data) // recipe.batch
    epoch, first = divmod(start, a_epoch)
    while True:
        generator = torch.Generator().manual_seed(recipe.seed * 10**9 + epoch)
        order = torch.randperm(len(data), generator=generator)
        chosen = [batch.tolist() for batch in order.split(recipe.batch)[first:a_epoch]]
        yield from loader(data, batch_sampler=chosen, generator=generator)
        epoch, first = epoch + 1, 0


def tested(recipe: Recipe, root: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """The validation images, once."""
    yield from loader(folder(recipe, root, "val"), batch_size=recipe.batch)


def loader(data: torch.utils.data.Dataset[tuple[Tensor, Tensor]], **options: object) -> DataLoader:
    """Reads beside the training."""
    return DataLoader(data, num_workers=WORKERS, **options)


def folder(
    recipe: Recipe, root: Path, split: str
) -> torch.utils.data.Dataset[tuple[Tensor, Tensor]]:
    """``root/imagenet/train`` or ``val``, a folder for each class; cropped as is usual."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    mean, std = ([float(x) for x in part.split(",")] for part in NORMALIZE["imagenet"].split("/"))
    crops = {
        "train": [v2.RandomResizedCrop(recipe.side), v2.RandomHorizontalFlip()],
        "val": [v2.Resize(recipe.side * 8 // 7), v2.CenterCrop(recipe.side)],
    }
    ending = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    return ImageFolder(root / recipe.data / split, v2.Compose([*crops[split], *ending]))

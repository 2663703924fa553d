"""Whole data sets in memory, and mini-batches of them in an order that a seed sets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from condcli.data import open_data
from experiments.folders import streamed, tested
from experiments.recipe import NORMALIZE, Recipe

MARGIN = 4  # pixels


@cache
def images(data: str, split: str, root: Path, count: int | None) -> tuple[Tensor, Tensor]:
    """The first ``count`` normalised images (N, …), and their labels (N,).

    ``data`` may also be a `package.module:function`, which has no splits.
    """
    if ":" in data:
        opened = open_data(data, samples=None)
    else:
        opened = open_data(data, root=root, split=split, samples=None, normalize=NORMALIZE[data])
    inputs, labels = next(opened.batches(opened.examples))
    return inputs[:count], labels[:count]


def minibatches(recipe: Recipe, root: Path, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches from step ``start`` on, without end; each epoch in a new order.

    Drawn from (seed, epoch) and (seed, step), so that a training that goes on sees the same ones.
    """
    if recipe.side:
        yield from streamed(recipe, root, start=start)
    inputs, labels = images(recipe.data, "train", root, recipe.images)
    size = recipe.batch or len(labels)
    a_epoch = len(labels) // size
    step = start
    while True:
        epoch, first = divmod(step, a_epoch)
        order = torch.randperm(len(labels), generator=_generator(recipe.seed, 0, epoch))
        for chosen in order.split(size)[first:a_epoch]:
            batch = inputs[chosen]
            yield augmented(batch, recipe.seed, step) if recipe.augment else batch, labels[chosen]
            step += 1


def test_batches(recipe: Recipe, root: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """The test split, 500 images at a time."""
    if recipe.side:
        yield from tested(recipe, root)
    else:
        inputs, labels = images(recipe.data, "test", root, None)
        yield from zip(inputs.split(500), labels.split(500), strict=True)


def augmented(batch: Tensor, seed: int, step: int) -> Tensor:
    """Each image flipped or not, and a window of its own size from it with a reflected margin."""
    generator = _generator(seed, 1, step)
    count, _, height, width = batch.shape
    flip = torch.rand(count, generator=generator) < 0.5
    batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
    wide = functional.pad(batch, (MARGIN,) * 4, mode="reflect")
    top, left = torch.randint(2 * MARGIN + 1, (2, count), generator=generator)
    rows = (top[:, None] + torch.arange(height))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width))[:, None, None, :]
    examples = torch.arange(count)[:, None, None, None]
    return wide[examples, torch.arange(batch.shape[1])[None, :, None, None], rows, columns]


def _generator(seed: int, kind: int, number: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 2 + kind) * 10**9 + number)

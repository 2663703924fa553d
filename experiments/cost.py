"""What experiments will cost: a step of each training is taken, and multiplied."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.images import images, minibatches
from experiments.networks import network
from experiments.recipe import Recipe
from experiments.setup import Setup
from experiments.training import optimizer_of, recorder, update

SHARE = 8  # of a batch is enough to time one, where it has as many examples


def seconds_a_step(recipe: Recipe, setup: Setup) -> float:
    """Of an unrecorded step: the second of two on an eighth of a batch, times eight."""
    size = recipe.batch or len(images(recipe.data, "train", setup.root, recipe.images)[1])
    share = SHARE if size >= 4 * SHARE else 1
    small = replace(recipe, batch=size // share, record=())
    model = network(small).to(setup.device)
    optimizer = optimizer_of(small, model)
    batches = noise(small) if recipe.side else minibatches(small, setup.root)
    with tempfile.TemporaryDirectory() as folder, recorder(Path(folder), small, model, 0) as record:
        for step in range(2):
            x, y = (tensor.to(setup.device) for tensor in next(batches))
            began = time.perf_counter()
            update(model, optimizer, small, record, x, y, step)
    return (time.perf_counter() - began) * share


def noise(recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Images that no folder is needed for."""
    size = recipe.batch or 1
    while True:
        yield torch.randn(size, 3, recipe.side, recipe.side), torch.zeros(size, dtype=torch.long)


def hours(recipes: Mapping[str, Recipe], setup: Setup) -> dict[str, float]:
    """For each training that is to be run, by its name."""
    return {
        name: seconds_a_step(recipe, setup) * recipe.steps / 3600
        for name, recipe in recipes.items()
    }

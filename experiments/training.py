"""Trains a recipe: seeded, resumable, recorded by condcli.Recorder, with checkpoints on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import condcli
from condcli.models import write_checkpoint
from experiments.images import minibatches, test_batches
from experiments.networks import network
from experiments.recipe import NORMALIZE, Recipe
from experiments.setup import Setup

SAVE_SECONDS = 60.0


@dataclass
class Log:
    """What a training has come to, step by step."""

    losses: list[float] = field(default_factory=list)  # of each step's batch, before its update
    tests: dict[int, float] = field(default_factory=dict)  # step to test error in percent
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """A finished training, in a folder."""

    folder: Path
    log: Log

    @property
    def checkpoints(self) -> list[Path]:
        """Those asked for, by step; `condcli probe` takes them as they are."""
        return sorted(self.folder.glob("step_*.pt"))

    @property
    def late(self) -> float:
        """The mean loss of the last tenth of the steps; infinite where it is not finite."""
        losses = self.log.losses[-max(1, len(self.log.losses) // 10) :]
        mean = sum(losses) / len(losses)
        return mean if math.isfinite(mean) else math.inf

    @property
    def stats(self) -> Path:
        """The folder of the recorded statistics, for `condcli.trajectory`."""
        return self.folder / "stats"


def train(name: str, recipe: Recipe, setup: Setup) -> Run:
    """The training, from where an earlier call has left it; what is done is not done again."""
    folder = setup.work / f"{name}-{recipe.digest}"
    folder.mkdir(parents=True, exist_ok=True)
    model = network(recipe).to(setup.device)
    optimizer = optimizer_of(recipe, model)
    log = Log()
    state = folder / "state.pt"
    if state.exists():
        _restore(state, model, optimizer, log)
    if len(log.losses) < recipe.steps:
        _go_on(folder, recipe, setup, model, optimizer, log)
        _save(state, model, optimizer, log)
    return Run(folder, log)


def _go_on(
    folder: Path,
    recipe: Recipe,
    setup: Setup,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    log: Log,
) -> None:
    start = len(log.losses)
    batches = minibatches(recipe, setup.root, start=start)
    began = saved = time.monotonic()
    earlier = log.seconds
    with recorder(folder / "stats", recipe, model, start) as record:
        for step in range(start, recipe.steps):
            if step in recipe.checkpoints:
                _write(folder / f"step_{step:06}.pt", recipe, model, step)
            if step in recipe.tests:
                log.tests[step] = test_error(model, recipe, setup)
            x, y = (tensor.to(setup.device) for tensor in next(batches))
            log.losses.append(update(model, optimizer, recipe, record, x, y, step))
            log.seconds = earlier + time.monotonic() - began
            if time.monotonic() - saved > SAVE_SECONDS:
                record.wait()
                _save(folder / "state.pt", model, optimizer, log)
                saved = time.monotonic()
    if recipe.steps in recipe.checkpoints:
        _write(folder / f"step_{recipe.steps:06}.pt", recipe, model, recipe.steps)
    if recipe.steps in recipe.tests:
        log.tests[recipe.steps] = test_error(model, recipe, setup)


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    record: condcli.Recorder,
    x: Tensor,
    y: Tensor,
    step: int,
) -> float:
    """One step; the loss before it."""
    for group in optimizer.param_groups:
        group["lr"] = rate(recipe, step)
    optimizer.zero_grad()
    with record.step():
        loss = functional.cross_entropy(model(x).flatten(0, -2), y.flatten())  # of a text, tokens
        loss.backward()
    optimizer.step()
    return loss.item()


def rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step."""
    grown = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    return recipe.rate * grown * 0.1 ** sum(step >= each for each in recipe.milestones)


@contextmanager
def recorder(
    folder: Path, recipe: Recipe, model: nn.Module, start: int
) -> Iterator[condcli.Recorder]:
    """Of the recipe's steps from ``start`` on; files of a call that was cut off are overwritten."""
    with condcli.Recorder(
        model,
        folder,
        every=set(recipe.record).__contains__,
        first=start,
        layers=recipe.layers,
        per_example=recipe.per_example,
        data=recipe.data,
        force=True,
    ) as record:
        yield record


def optimizer_of(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """SGD or Adam with the recipe's numbers."""
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), recipe.rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        model.parameters(),
        recipe.rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )


@torch.no_grad()
def test_error(model: nn.Module, recipe: Recipe, setup: Setup) -> float:
    """Percent of the test split that the network, in evaluation mode, gets wrong."""
    model.eval()
    wrong = total = 0
    for x, y in test_batches(recipe, setup.root):
        wrong += int((model(x.to(setup.device)).argmax(1).cpu() != y).sum())
        total += len(y)
    model.train()
    return 100 * wrong / total


def _write(path: Path, recipe: Recipe, model: nn.Module, step: int) -> None:
    write_checkpoint(
        path,
        model.state_dict(),
        arch=recipe.arch,
        arch_args=recipe.arch_args,
        step=step,
        data=recipe.data,
        normalize=NORMALIZE.get(recipe.data),
    )


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, log: Log) -> None:
    unfinished = path.with_suffix(".unfinished")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "log": vars(log)}
    torch.save(state, unfinished)
    unfinished.replace(path)


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, log: Log) -> None:
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    vars(log).update(state["log"])

"""A GAN of two MLPs, trained with a Recorder for each player."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

import condcli
from condcli.models import ZOO, load, write_checkpoint
from experiments.images import minibatches
from experiments.recipe import Recipe
from experiments.setup import Setup

if TYPE_CHECKING:
    from condcli.recorder import Step

PLAYERS = ("generator", "discriminator")
DRAWN = 12


@dataclass(frozen=True, kw_only=True)
class Game:
    """Both players and how they are trained; ``norm`` is the discriminator's: none, bn or sn."""

    norm: str = "none"
    data: str = "mnist"
    images: int | None = None
    pixels: int = 784
    noise: int = 64
    width: int = 256
    depth: int = 4
    batch: int = 128
    rate: float = 2e-4
    steps: int
    every: int  # steps to a record

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits, as a Recipe's."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:8]

    @property
    def arguments(self) -> dict[str, dict[str, object]]:
        """Of each player's MLP."""
        shared = {"depth": self.depth, "width": self.width}
        own = "bn" if self.norm == "bn" else "none"
        return {
            "generator": shared | {"inputs": self.noise, "classes": self.pixels, "norm": "bn"},
            "discriminator": shared | {"inputs": self.pixels, "classes": 1, "norm": own},
        }


def play(name: str, game: Game, setup: Setup) -> Path:
    """The folder with each player's checkpoint and, in a folder, its records.

    A game that was played to its end is not played again; one that was cut off begins anew.
    """
    folder = setup.work / f"{name}-{game.digest}"
    if (folder / "generator.pt").exists():
        return folder
    players = networks(game, setup.device)
    optimizers = {
        player: torch.optim.Adam(network.parameters(), game.rate, betas=(0.5, 0.999))
        for player, network in players.items()
    }
    generator = torch.Generator().manual_seed(1)
    drawn = minibatches(
        Recipe(arch="mlp", data=game.data, images=game.images, batch=game.batch, steps=game.steps),
        setup.root,
    )
    with recorders(folder, players, game) as records:
        for step, (real, _) in zip(range(game.steps + 1), drawn, strict=False):
            noise = torch.randn(2, game.batch, game.noise, generator=generator).to(setup.device)
            real = real.flatten(1).to(setup.device)
            for player, loss_of in (("discriminator", judge), ("generator", deceive)):
                optimizers[player].zero_grad()
                with parametrize.cached(), records[player].step() as told:
                    loss_of(players, real, noise, told).backward()
                if step < game.steps:
                    optimizers[player].step()
    for player, network in reversed(players.items()):
        write(folder / f"{player}.pt", network, game, player)
    return folder


def judge(players: dict[str, nn.Module], real: Tensor, noise: Tensor, told: Step) -> Tensor:
    """The discriminator's loss: cross entropy of real against made."""
    with torch.no_grad():
        made = players["generator"](noise[0])
    judged = [players["discriminator"](images) for images in (real, made)]  # each its own batch
    losses = [
        functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
        for logits, label in zip(judged, (1.0, 0.0), strict=True)
    ]
    return told.loss(sum(losses) / 2, terms=2 * len(real))


def deceive(players: dict[str, nn.Module], real: Tensor, noise: Tensor, told: Step) -> Tensor:
    """The generator's loss: that what it made is called made."""
    logits = players["discriminator"](players["generator"](noise[1]))
    loss = functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    return told.loss(loss, terms=len(noise[1]))


def networks(game: Game, device: str) -> dict[str, nn.Module]:
    """Both players as they begin."""
    torch.manual_seed(0)
    players = {player: ZOO["mlp"](**game.arguments[player]) for player in PLAYERS}
    if game.norm == "sn":
        for layer in players["discriminator"].modules():
            if isinstance(layer, nn.Linear):
                parametrizations.spectral_norm(layer)
    return {player: network.to(device) for player, network in players.items()}


@contextmanager
def recorders(
    folder: Path, players: dict[str, nn.Module], game: Game
) -> Iterator[dict[str, condcli.Recorder]]:
    """One for each player, every so many steps and at the last."""
    found = {
        player: condcli.Recorder(
            network, folder / player, every=game.every, data=game.data, force=True
        )
        for player, network in players.items()
    }
    try:
        yield found
    finally:
        for recorder in found.values():
            recorder.close()


def write(path: Path, network: nn.Module, game: Game, player: str) -> None:
    """A self-describing checkpoint, with the weights that spectral normalisation computes."""
    network = copy.deepcopy(network)
    for layer in network.modules():
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    write_checkpoint(
        path, network.state_dict(), arch="mlp", arch_args=game.arguments[player], step=game.steps
    )


@torch.no_grad()
def samples(checkpoint: Path, game: Game) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A few images that a generator makes (DRAWN, side, side); BN uses its running statistics."""
    generator = load(checkpoint).module.eval()
    noise = torch.randn(DRAWN, game.noise, generator=torch.Generator().manual_seed(2))
    side = math.isqrt(game.pixels)
    return generator(noise).view(DRAWN, side, side).numpy()

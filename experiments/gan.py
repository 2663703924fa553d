"""Beyond the paper: both players of a small GAN on MNIST, layer by layer over the training."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import condcli
from benchmarks.document import table
from experiments.drawing import COLORS, DASHES, figure, save
from experiments.game import PLAYERS, Game, play, samples
from experiments.setup import Check, Outcome, Row, Setup

TITLE = "Beyond: both players of a GAN"
CLAIM = """The paper leaves GANs to future work. Generator and discriminator are MLPs of four
layers; the generator has BN, the discriminator none, BN, or spectral normalisation. **What theory
lets expect**: spectral normalisation holds each σ_max(W) of the discriminator at 1 (Miyato et al.
2018, arXiv 1802.05957), so that with ReLU no example's gradient that reaches the generator's output
is longer than 1: λ_max(Σ_∇h) of its last layer is at most 1, and without it is larger. BN in the
discriminator leaves no neurons dying or full, and makes its Σ_x better conditioned (Figures 5 and
A13). A discriminator without normalisation learns faster than the generator: its loss ends below
ln 2 = 0.69, that of not telling real from made."""
ROWS = {"Future work: GANs": "gradients, conditioning, domination and neurons of both players"}
ROWS_NOT_RUN = "`--scale cpu` takes a quarter of an hour on a processor"
PERCENT = 10.0  # a batch of 128 images tells no more of the 784 directions of an image
NAMES = {"none": "no norm", "bn": "BN", "sn": "spectral norm"}
# A number of each player at a recorded step: its title, and whether its panel is in decades.
QUANTITIES = {
    "loss": ("loss", False),
    "lambda_max_grad": ("λ_max(Σ_∇h), last layer", True),
    "gradient": ("‖∂L/∂W‖, median", True),
    "kappa_input": ("κ_10%(Σ_x), median", True),
    "kappa_grad": ("κ_10%(Σ_∇h), median", True),
    "ratio": ("least σ_max(∂L/∂W) / σ_max(W)", True),
    "dying": ("dying neurons", False),
    "full": ("full neurons", False),
}

SIZES = {
    "smoke": Game(data="digits", images=256, pixels=64, width=32, batch=64, steps=12, every=4),
    "cpu": Game(images=20_000, steps=500, every=25),
    "full": Game(steps=20_000, every=500),
}


def recipes(size: Game) -> dict[str, Any]:
    """None: a game is no training of one network; see `hours`."""
    return {}


def games(size: Game) -> dict[str, Game]:
    """One for each normalisation of the discriminator."""
    return {norm: replace(size, norm=norm) for norm in NAMES}


def hours(size: Game, setup: Setup) -> float:
    """Of all games, from three steps of one."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        play("timed", replace(size, steps=3), replace(setup, work=Path(folder)))
        return (time.perf_counter() - began) / 3 * size.steps * len(NAMES) / 3600


def run(size: Game, setup: Setup) -> Outcome:
    """Play all, read both players' records, draw, and look for what theory lets expect."""
    found, pictures = {}, {}
    for norm, game in games(size).items():
        folder = play(f"gan-{norm}", game, setup)
        found[norm] = {player: curves(folder / player) for player in PLAYERS}
        pictures[norm] = samples(folder / "generator.pt", game)
        print(f"  gan-{norm}: loss {found[norm]['discriminator']['loss'][-1]:.3f}", flush=True)
    draw(found, setup)
    draw_samples(pictures, setup)
    return Outcome(
        checks=effects(found),
        rows={next(iter(ROWS)): Row(status="beyond the paper", text=summary(found))},
        numbers=found,
        figures=("gan.png", "gan_samples.png"),
        remarks=f"{iterated(found)} At step {size.steps}:\n\n"
        + table(
            ("discriminator's norm", "player", *(title for title, _ in QUANTITIES.values())),
            [
                [NAMES[norm], player, *(f"{curve[name][-1]:.3g}" for name in QUANTITIES)]
                for norm, players in found.items()
                for player, curve in players.items()
            ],
        ),
        settings={
            "images": f"{size.images or 'all'} of {size.data}",
            "Adam": f"{size.steps} steps of {size.batch} images at {size.rate:g}",
        },
    )


Curves = Mapping[str, list[float]]
Found = Mapping[str, Mapping[str, Curves]]  # by the discriminator's norm and by player


def curves(stats: Path) -> dict[str, list[float]]:
    """Each quantity at each recorded step."""
    rows = [at(point) for point in condcli.trajectory([stats], percent=PERCENT)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def at(point: Any) -> dict[str, float]:
    """Of one player at one step."""
    layers, activations = list(point.layers.values()), list(point.activations.values())
    units = sum(each.units for each in activations)
    return {
        "step": point.step,
        "loss": point.loss,
        "lambda_max_grad": layers[-1].lambda_max_grad,
        "gradient": median(layer.weight_grad_norm for layer in layers),
        "kappa_input": median(layer.kappa_input.least for layer in layers),
        "kappa_grad": median(layer.kappa_grad.least for layer in layers),
        "ratio": min(layer.ratio for layer in layers),
        "sigma_max_weight": max(layer.sigma_max_weight for layer in layers),
        "dying": sum(each.dying for each in activations) / units,
        "full": sum(each.full for each in activations) / units,
    }


def effects(found: Found) -> tuple[Check, ...]:
    """What theory lets expect."""
    fake = {norm: max(players["generator"]["lambda_max_grad"]) for norm, players in found.items()}
    player = {norm: players["discriminator"] for norm, players in found.items()}
    weight = player["sn"]["sigma_max_weight"]
    stuck = {norm: each["dying"][-1] + each["full"][-1] for norm, each in player.items()}
    kappa = {norm: each["kappa_input"][-1] for norm, each in player.items()}
    losses = {norm: each["loss"][-1] for norm, each in player.items()}
    return (
        Check(
            claim="spectral norm, from the second record on: largest σ_max(W) of a layer",
            paper="1 ± 0.1",
            ours=f"{max(weight[1:]):.3f}",
            holds=abs(max(weight[1:]) - 1) <= 0.1,
        ),
        Check(
            claim="largest λ_max(Σ_∇h) of the generator's last layer, no norm | BN | spectral norm",
            paper="spectral norm: at most 1; the others: more",
            ours=bars(fake, ".3g"),
            holds=fake["sn"] <= 1.05 and min(fake["none"], fake["bn"]) > fake["sn"],
        ),
        Check(
            claim="end: dying and full neurons of the discriminator, no norm | BN | spectral norm",
            paper="BN: below 2 %, and the fewest",
            ours=bars(stuck, ".1%"),
            holds=stuck["bn"] < 0.02 and stuck["bn"] <= min(stuck.values()),
        ),
        Check(
            claim="end: median κ_10%(Σ_x) of the discriminator, no norm | BN | spectral norm",
            paper="BN: the least",
            ours=bars(kappa, ".3g"),
            holds=kappa["bn"] == min(kappa.values()),
        ),
        Check(
            claim="end: loss of the discriminator, no norm | BN | spectral norm",
            paper="no norm: below ln 2 = 0.69; spectral norm: nearest to it",
            ours=bars(losses, ".3f"),
            holds=losses["none"] < math.log(2)
            and min(losses, key=lambda norm: abs(losses[norm] - math.log(2))) == "sn",
        ),
    )


def iterated(found: Found) -> str:
    """When spectral normalisation was farthest behind."""
    curve = found["sn"]["discriminator"]
    weights = curve["sigma_max_weight"][1:]
    step = curve["step"][1:][weights.index(max(weights))]
    return (
        "Spectral normalisation takes one power iteration a step, and follows Adam's steps with a "
        f"delay: σ_max(W) was largest, {max(weights):.3f}, at step {step}, and at the end it is "
        f"{weights[-1]:.3f}."
    )


def bars(numbers: Mapping[str, float], form: str) -> str:
    """The numbers beside each other."""
    return " | ".join(format(number, form) for number in numbers.values())


def summary(found: Found) -> str:
    """For the overview."""
    return "; ".join(
        f"{NAMES[norm]}: median κ_10%(Σ_x) at the end "
        + ", ".join(f"{player} {curve['kappa_input'][-1]:.3g}" for player, curve in players.items())
        for norm, players in found.items()
    )


def draw(found: Found, setup: Setup) -> None:
    """A panel for each quantity: colour for the discriminator's norm, dashes for the player."""
    drawn, axes = figure(math.ceil(len(QUANTITIES) / 2), 2, height=1.5, sharex=True)
    for panel, (name, (title, decades)) in zip(axes.flat, QUANTITIES.items(), strict=False):
        for color, (norm, players) in zip(COLORS, found.items(), strict=False):
            for dashes, (player, curve) in zip(DASHES, players.items(), strict=False):
                label = f"{player}, {NAMES[norm]}"
                panel.plot(curve["step"], curve[name], color=color, ls=dashes, label=label)
        panel.set_title(title, fontsize=8)
        panel.set_yscale("log" if decades else "linear")
    for panel in axes[-1]:
        panel.set_xlabel("step")
    handles, labels = axes[0][0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=len(NAMES), fontsize=7)
    save(drawn, setup.figures / "gan.png")


def draw_samples(pictures: Mapping[str, Any], setup: Setup) -> None:
    """A row of made images for each norm of the discriminator."""
    count = len(next(iter(pictures.values())))
    drawn, axes = figure(len(pictures), count, height=0.62)
    for line, (norm, images) in zip(axes, pictures.items(), strict=True):
        for panel, image in zip(line, images, strict=True):
            panel.imshow(image, cmap="gray_r")
            panel.set_axis_off()
        line[0].set_title(NAMES[norm], fontsize=7, loc="left")
    save(drawn, setup.figures / "gan_samples.png")

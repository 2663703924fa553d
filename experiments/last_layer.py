"""Figures 6, 7 and 9: the last linear layer of very deep residual networks, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import condcli
from experiments.drawing import COLORS, DASHES, figure, save
from experiments.recipe import Recipe
from experiments.setup import Check, Outcome, Row, Setup
from experiments.training import train

TITLE = "The last linear layer of very deep ResNets (Figures 6, 7 and 9)"
CLAIM = """**The paper** (section 5): without a BN before the last linear layer, a deep ResNet's
input to that layer is large and non-negative when training begins, so λ_max(Σ_x) and with it ∂L/∂W
is large; W grows, the loss rises above that of chance and then sticks at ln 10 ≈ 2.303, while
λ_max(Σ_x) falls and the weights dominate their gradients. One BN before the last linear layer
(ResNetLastBN) removes it; PreResNet has such a BN, and PreResNetv1, without it, shows the problem.
It grows with depth."""
ROWS = {
    "Figure 6": "ResNet, CIFAR-10, by depth: loss and λ_max(Σ_x) of the last layer",
    "Figure 7": "the same with λ_max(Σ_∂W), ‖W‖₂: ResNet against ResNetLastBN",
    "Figure 9": "PreResNet against PreResNetv1",
}
ROWS_NOT_RUN = "`--scale cpu` takes hours on a processor"
LN10 = math.log(10)
LATE = 20  # steps
Curve = Mapping[str, list[float]]  # by quantity: at each recorded step, the loss of every step
NAMES = {
    "resnet": "ResNet",
    "resnet_lastbn": "ResNetLastBN",
    "preresnet": "PreResNet",
    "preresnet_v1": "PreResNetv1",
}
QUANTITIES = {
    "loss": "loss",
    "lambda_max_input": "λ_max(Σ_x)",
    "grad_moment_lambda_max": "λ_max(Σ_∂W)",
    "sigma_max_weight": "‖W‖₂",
}


@dataclass(frozen=True)
class Size:
    """Steps by depth, and by depth and network where it is another number."""

    steps: Mapping[int, int]
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    data: str = "cifar10"
    batch: int = 128
    archs: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # by depth; else all

    def networks(self) -> list[tuple[int, str]]:
        """Depth and network of each training."""
        return [(depth, arch) for depth in self.steps for arch in self.archs.get(depth, NAMES)]


SIZES = {
    "smoke": Size({8: 6, 14: 6}, {"channels": 1, "width": 4}, data="digits", batch=32),
    "cpu": Size(
        {110: 300, 56: 300, 1202: 30},
        archs={1202: ("resnet", "resnet_lastbn")},
    ),
    "full": Size({56: 62_560, 110: 62_560, 230: 62_560, 1202: 62_560}),
}


def recipes(size: Size) -> dict[str, Recipe]:
    """The first steps of the paper's training on CIFAR-10 (160 epochs of 391 steps), by network."""
    return {f"{arch}{depth}": recipe(arch, depth, size) for depth, arch in size.networks()}


def recipe(arch: str, depth: int, size: Size) -> Recipe:
    """SGD, Nesterov 0.9, 0.1, a tenth at epochs 80 and 120, weight decay 1e-4, flips and crops."""
    steps = size.steps[depth]
    return Recipe(
        arch=arch,
        arch_args={"depth": depth, **size.arch_args},
        data=size.data,
        augment=True,
        rate=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        milestones=(31_280, 46_920),
        batch=size.batch,
        steps=steps,
        record=recorded(steps),
        layers=("fc",),
        checkpoints=(0, steps),
    )


def recorded(steps: int) -> tuple[int, ...]:
    """Each of the first 40 steps, then every fifth to 1,000, then every hundredth."""
    chosen = {*range(40), *range(40, 1000, 5), *range(1000, steps, 100), steps - 1}
    return tuple(sorted(step for step in chosen if step < steps))


def run(size: Size, setup: Setup) -> Outcome:
    """Train all, read the last layer off the recorded files, draw, and look for the effects."""
    curves = {}
    for name, each in recipes(size).items():
        done = train(name, each, setup)
        curves[name] = curve(done.stats, done.log.losses)
        print(f"  {name}: {done.log.seconds / each.steps:.2f} s a step", flush=True)
    draw(curves, size, setup)
    checks = [check for depth in size.steps for check in effects(curves, depth)]
    return Outcome(
        checks=tuple(checks),
        rows=rows(curves, size),
        numbers=curves,
        figures=("last_layer.png",),
        settings={"steps": ", ".join(f"{n} at depth {depth}" for depth, n in size.steps.items())},
    )


def curve(stats: Path, losses: list[float]) -> Curve:
    """The last layer at each recorded step, beside the loss of every step."""
    points = condcli.trajectory([stats])
    names = [name for name in QUANTITIES if name != "loss"]
    found = {name: [getattr(point.layers["fc"], name) for point in points] for name in names}
    return {
        "step": [point.step for point in points],
        **found,
        "ratio": [point.layers["fc"].ratio for point in points],
        "loss": losses,
    }


def effects(curves: Mapping[str, Curve], depth: int) -> list[Check]:
    """What the paper states of that depth, for the networks that were trained."""
    pairs = [("resnet", "resnet_lastbn"), ("preresnet_v1", "preresnet")]
    return [
        check
        for without, with_bn in pairs
        if f"{without}{depth}" in curves and f"{with_bn}{depth}" in curves
        for check in compared(
            curves[f"{without}{depth}"], curves[f"{with_bn}{depth}"], without, with_bn, depth
        )
    ]


def compared(without: Curve, with_bn: Curve, name: str, bn_name: str, depth: int) -> list[Check]:
    """The network without a BN before the last layer against the one with it."""
    title = f"depth {depth}, {NAMES[name]} | {NAMES[bn_name]}"
    checks = begun(without, with_bn, title)
    # The first tens of steps only show how it begins.
    return checks if len(without["loss"]) < 3 * LATE else checks + ended(without, with_bn, title)


def begun(without: Curve, with_bn: Curve, title: str) -> list[Check]:
    """What happens first: all is large."""
    peak, bn_peak = max(without["loss"][:50]), max(with_bn["loss"][:50])
    return [
        Check(
            claim=f"{title}: largest loss of the first 50 steps",
            paper="far above ln 10 | not",
            ours=f"{peak:.2f} | {bn_peak:.2f}",
            holds=peak > 2 * LN10 and peak > bn_peak,
        ),
        _larger(without, with_bn, title, "lambda_max_input"),
        _larger(without, with_bn, title, "grad_moment_lambda_max"),
        _larger(without, with_bn, title, "sigma_max_weight"),
    ]


def ended(without: Curve, with_bn: Curve, title: str) -> list[Check]:
    """What comes of it: the weights dominate."""
    last, bn_last = late(without["loss"]), late(with_bn["loss"])
    shrunk, bn_shrunk = (
        min(each["lambda_max_input"]) / max(each["lambda_max_input"]) for each in (without, with_bn)
    )
    ratios = [(each["ratio"][0], each["ratio"][-1]) for each in (without, with_bn)]
    return [
        Check(
            claim=f"{title}: mean loss of the last {LATE} steps",
            paper="sticks near ln 10 = 2.30 | falls",
            ours=f"{last:.2f} | {bn_last:.2f}",
            holds=abs(last - LN10) < 0.1 and bn_last < LN10 - 0.1,
        ),
        Check(
            claim=f"{title}: smallest λ_max(Σ_x) over the largest",
            paper="it shrinks | it does not",
            ours=f"{shrunk:.2g} | {bn_shrunk:.2g}",
            holds=shrunk < 0.1 < bn_shrunk,
        ),
        Check(
            claim=f"{title}: σ_max(∂L/∂W) / σ_max(W), first and last step",
            paper="falls to weight domination | does not",
            ours=" | ".join(f"{first:.2g} → {last:.2g}" for first, last in ratios),
            holds=ratios[0][1] < 0.01 < ratios[1][1],
        ),
    ]


def _larger(without: Curve, with_bn: Curve, title: str, name: str) -> Check:
    largest, bn_largest = max(without[name]), max(with_bn[name])
    return Check(
        claim=f"{title}: largest {QUANTITIES[name]}",
        paper="large | small",
        ours=f"{largest:.3g} | {bn_largest:.3g}",
        holds=largest > bn_largest,
    )


def late(losses: list[float]) -> float:
    """The mean of the last ones."""
    return sum(losses[-LATE:]) / len(losses[-LATE:])


def rows(curves: Mapping[str, Curve], size: Size) -> dict[str, Row]:
    """What was seen at the largest depth that all networks of a row were trained at."""
    groups = {
        "Figure 6": ("resnet",),
        "Figure 7": ("resnet", "resnet_lastbn"),
        "Figure 9": ("preresnet_v1", "preresnet"),
    }
    return {row: seen(archs, curves, size) for row, archs in groups.items()}


def seen(archs: tuple[str, ...], curves: Mapping[str, Curve], size: Size) -> Row:
    """The losses at each depth, and what of the paper's training is missing."""
    depths = [d for d in sorted(size.steps) if all(f"{arch}{d}" in curves for arch in archs)]
    parts = []
    for depth in depths:
        losses = {NAMES[arch]: curves[f"{arch}{depth}"]["loss"] for arch in archs}
        short = size.steps[depth] < 3 * LATE
        told = ", ".join(
            f"{n} {max(x):.2f} → {x[-1]:.2f}" if short else f"{n} {late(x):.2f}"
            for n, x in losses.items()
        )
        what = "largest → last loss" if short else f"mean loss of the last {LATE}"
        parts.append(f"depth {depth}, {what} of {size.steps[depth]} steps: {told}")
    whole = dict(SIZES["full"].steps) == {d: size.steps[d] for d in depths}
    missing = "" if whole else "; the first steps only, not all four depths"
    return Row(status="reproduced" if whole else "partly", text="; ".join(parts) + missing)


def draw(curves: Mapping[str, Curve], size: Size, setup: Setup) -> None:
    """A row of panels for each depth, a panel for each quantity."""
    drawn, axes = figure(len(size.steps), len(QUANTITIES))
    for line, depth in zip(axes, size.steps, strict=True):
        for panel, (quantity, title) in zip(line, QUANTITIES.items(), strict=True):
            for color, dashes, (arch, name) in zip(COLORS, DASHES, NAMES.items(), strict=False):
                found = curves.get(f"{arch}{depth}")
                if found:
                    values = found[quantity]
                    steps = range(len(values)) if quantity == "loss" else found["step"]
                    panel.semilogy(steps, values, color=color, ls=dashes, label=name)
            panel.set_title(f"{title}, depth {depth}", fontsize=8)
            panel.xaxis.get_major_locator().set_params(integer=True)
            if quantity == "loss":
                panel.axhline(LN10, color="black", lw=0.6, ls=":", label="ln 10")
    for panel in axes[-1]:
        panel.set_xlabel("step")
    drawn.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    save(drawn, setup.figures / "last_layer.png")

"""Figure 8 and Tables 1, 2, A1, A2: residual networks trained to the end, by depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from statistics import mean, stdev
from typing import Any

from benchmarks.document import table
from experiments.drawing import COLORS, figure, save
from experiments.last_layer import NAMES
from experiments.recipe import Recipe
from experiments.setup import Check, Outcome, Row, Setup
from experiments.training import Run, train

TITLE = "Test error after full training (Figure 8 and the tables)"
CLAIM = """**The paper** (section 5.2): with a BN before the last linear layer, the training loss of
the first 80 epochs hardly depends on depth (at depth 56 it ends at 0.043, without at 0.081), and
test error falls with depth, to 5.68 % on CIFAR-10 at 1202 layers, where ResNet has 9.42 %. In
networks without any other BN, it is what lets deep VGG-style ones train at all."""
ROWS = {
    "Figure 8": "training loss of ResNet and ResNetLastBN by depth",
    "Test error, CIFAR-10": "four residual networks at depth 56, 110, 230, 1202, five seeds",
    "Test error, CIFAR-100": "the same",
    "Test error without BN": "VGG-style and ResNet with and without one last BN, CIFAR-10",
}
ROWS_NOT_RUN = "160 epochs, 5 seeds: `--scale full --device cuda` takes days even there"
EPOCHS, A_EPOCH = 160, 390  # 50,000 images in batches of 128, the rest left out
DEPTHS = (56, 110, 230, 1202)
SHALLOWER = (20, 44, 56, 110)
PLAIN = {"vgg_style": "VGG-style", "vgg_style_lastbn": "VGG-style LastBN"}
TITLES = {**NAMES, **PLAIN}
# Test error in percent, by data and network, at the depths above.
PAPER = {
    "cifar10": {
        "resnet": (7.52, 6.89, 7.35, 9.42),
        "preresnet": (6.89, 6.25, 6.12, 6.07),
        "preresnet_v1": (6.75, 6.37, 6.32, 7.89),
        "resnet_lastbn": (6.50, 6.10, 5.94, 5.68),
    },
    "cifar100": {
        "resnet": (29.60, 28.3, 29.25, 30.49),
        "preresnet": (29.29, 27.58, 26.72, 26.23),
        "preresnet_v1": (29.60, 28.54, 27.92, 30.07),
        "resnet_lastbn": (28.82, 27.05, 25.80, 25.51),
    },
    "without BN": {
        "vgg_style": (14.88, 33.90, 89.93, 90.0),
        "vgg_style_lastbn": (12.89, 18.40, 23.40, 73.99),
        "resnet": (11.21, 9.90, 9.48, 8.93),
        "resnet_lastbn": (10.31, 8.99, 8.61, 8.37),
    },
}
GROUPS = {
    "cifar10": "Test error, CIFAR-10",
    "cifar100": "Test error, CIFAR-100",
    "without BN": "Test error without BN",
}


@dataclass(frozen=True)
class Size:
    """How much of the tables is trained, and for how long."""

    depths: tuple[int, ...] = DEPTHS
    shallower: tuple[int, ...] = SHALLOWER  # without BN
    epochs: int = EPOCHS
    a_epoch: int = A_EPOCH
    seeds: int = 5
    data: Mapping[str, str] = field(
        default_factory=lambda: {"cifar10": "cifar10", "cifar100": "cifar100"}
    )
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 128


SIZES = {
    "smoke": Size(
        (8, 14),
        (8,),
        epochs=2,
        a_epoch=4,
        seeds=2,
        data={"cifar10": "digits"},
        arch_args={"channels": 1, "width": 4},
    ),
    "cpu": None,
    "full": Size(),
}


@dataclass(frozen=True, order=True)
class Cell:
    """A number of one of the tables."""

    group: str
    arch: str
    depth: int


def cells(size: Size) -> Iterator[Cell]:
    """All that are to be trained."""
    for group in (*size.data, "without BN"):
        depths = size.shallower if group == "without BN" else size.depths
        yield from (Cell(group, arch, depth) for arch in PAPER[group] for depth in depths)


def recipes(size: Size) -> dict[str, Recipe]:
    """The paper's training of each network, once for each seed."""
    return {
        name(cell, seed): replace(recipe(cell, size), seed=seed)
        for cell in cells(size)
        for seed in range(size.seeds)
    }


def name(cell: Cell, seed: int) -> str:
    """Of a training."""
    return f"{cell.group.replace(' ', '-')}-{cell.arch}{cell.depth}-{seed}"


def recipe(cell: Cell, size: Size) -> Recipe:
    """SGD, Nesterov 0.9, 0.1, a tenth at epochs 80 and 120, weight decay 1e-4, flips and crops."""
    classes = {"classes": 100} if size.data.get(cell.group) == "cifar100" else {}
    norm = {"norm": "none"} if cell.group == "without BN" else {}
    steps = size.epochs * size.a_epoch
    return Recipe(
        arch=cell.arch,
        arch_args={"depth": cell.depth, **classes, **norm, **size.arch_args},
        data=size.data.get(cell.group, size.data["cifar10"]),
        augment=True,
        rate=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        milestones=(steps // 2, steps * 3 // 4),
        batch=size.batch,
        steps=steps,
        checkpoints=(steps,),
        tests=(steps,),
    )


def run(size: Size, setup: Setup) -> Outcome:
    """Train all of it, tabulate test errors and draw the losses."""
    runs: dict[Cell, list[Run]] = {}
    for cell in cells(size):
        for seed in range(size.seeds):
            each = replace(recipe(cell, size), seed=seed)
            runs.setdefault(cell, []).append(train(name(cell, seed), each, setup))
    errors = {cell: [list(r.log.tests.values())[-1] for r in found] for cell, found in runs.items()}
    draw(runs, size, setup)
    return Outcome(
        checks=tuple(checks(errors, size)),
        rows=rows(errors, runs, size),
        numbers={f"{c.group}, {c.arch}, {c.depth}": found for c, found in errors.items()},
        figures=("test_error.png",),
        remarks="\n".join(tabulated(group, errors) for group in (*size.data, "without BN")),
        settings={"epochs": size.epochs, "seeds": size.seeds},
    )


def checks(errors: Mapping[Cell, list[float]], size: Size) -> Iterator[Check]:
    """That the last BN helps at each depth, and that with it more depth does."""
    for group in (*size.data, "without BN"):
        for depth in size.shallower if group == "without BN" else size.depths:
            ours = [mean(errors[Cell(group, a, depth)]) for a in ("resnet", "resnet_lastbn")]
            yield Check(
                claim=f"{group}, depth {depth}: test error of ResNet | ResNetLastBN",
                paper=" | ".join(
                    paper_number(Cell(group, arch, depth)) for arch in ("resnet", "resnet_lastbn")
                ),
                ours=" | ".join(f"{value:.2f}" for value in ours),
                holds=ours[1] < ours[0],
            )


def paper_number(cell: Cell) -> str:
    """The table's, or a dash for a depth that it has not."""
    depths = SHALLOWER if cell.group == "without BN" else DEPTHS
    if cell.depth not in depths:
        return "–"
    return f"{PAPER[cell.group][cell.arch][depths.index(cell.depth)]:.2f}"


def rows(
    errors: Mapping[Cell, list[float]], runs: Mapping[Cell, list[Run]], size: Size
) -> dict[str, Row]:
    """The overview's: the deepest networks' errors, and the losses at the end."""
    whole = size == SIZES["full"]
    status = "reproduced" if whole else "partly"
    found = {}
    for group in (*size.data, "without BN"):
        deepest = max(cell.depth for cell in errors if cell.group == group)
        pair = [Cell(group, arch, deepest) for arch in ("resnet", "resnet_lastbn")]
        text = " | ".join(f"{TITLES[cell.arch]} {mean(errors[cell]):.2f} %" for cell in pair)
        found[GROUPS[group]] = Row(status=status, text=f"depth {deepest}: {text}")
    group, depth = next(iter(size.data)), size.depths[0]
    losses = {a: last_loss(runs[Cell(group, a, depth)], size) for a in ("resnet", "resnet_lastbn")}
    text = " | ".join(f"{TITLES[arch]} {value:.3f}" for arch, value in losses.items())
    found["Figure 8"] = Row(status=status, text=f"loss of the last epoch, depth {depth}: {text}")
    return found


def last_loss(found: list[Run], size: Size) -> float:
    """Mean over the last epoch and the seeds."""
    return mean(mean(each.log.losses[-size.a_epoch :]) for each in found)


def tabulated(group: str, errors: Mapping[Cell, list[float]]) -> str:
    """Networks by depth: ours, and the paper's in brackets."""
    depths = sorted({cell.depth for cell in errors if cell.group == group})
    lines = []
    for arch in PAPER[group]:
        found = [Cell(group, arch, depth) for depth in depths]
        lines.append([TITLES[arch], *(spread(errors[c]) + f" ({paper_number(c)})" for c in found)])
    head = f"**{GROUPS[group]}**, in percent: mean ± deviation over seeds (the paper's)\n\n"
    return head + table((group, *(f"depth {depth}" for depth in depths)), lines)


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def draw(runs: Mapping[Cell, list[Run]], size: Size, setup: Setup) -> None:
    """The training loss of each epoch, a panel each for ResNet and ResNetLastBN."""
    drawn, axes = figure(1, 2, height=2.6, sharey=True)
    group = next(iter(size.data))
    for panel, arch in zip(axes[0], ("resnet", "resnet_lastbn"), strict=True):
        for color, depth in zip(COLORS, size.depths, strict=False):
            losses = runs[Cell(group, arch, depth)][0].log.losses
            epochs = [losses[k : k + size.a_epoch] for k in range(0, len(losses), size.a_epoch)]
            panel.semilogy([mean(e) for e in epochs], color=color, label=f"depth {depth}")
        panel.set_title(TITLES[arch])
        panel.set_xlabel("epoch")
    axes[0][0].set_ylabel("training loss")
    axes[0][0].legend()
    save(drawn, setup.figures / "test_error.png")

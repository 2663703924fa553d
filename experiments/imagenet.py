"""The ImageNet table: ResNet-18 and ResNet-50 with and without a BN before the last layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.document import table
from experiments.recipe import Recipe
from experiments.setup import Check, Outcome, Row, Setup
from experiments.training import train

TITLE = "Top-1 error on ImageNet"
CLAIM = """**The paper** (section 5.2): one BN before the last linear layer lowers the top-1 error
of ResNet-18 and ResNet-50, also beside a larger weight decay or dropout."""
ROWS = {
    "Top-1 error, ImageNet": "ResNet-18 and -50, with and without a last BN; weight decay; dropout"
}
ROWS_NOT_RUN = "needs ImageNet in `ROOT/imagenet/train` and `val`, and days on a GPU"
SMOKE_IMAGES = 40  # of a folder made of digits
# Top-1 error in percent: standard, weight decay 2e-4, dropout 0.3.
PAPER = {
    "resnet18": (29.78, 30.07, 30.62),
    "resnet18 + BN": (29.38, 28.96, 29.32),
    "resnet50": (23.97, 24.37, 23.81),
    "resnet50 + BN": (23.76, 23.49, 23.47),
}
VARIANTS = ("standard", "weight decay 2e-4", "dropout 0.3")


@dataclass(frozen=True)
class Size:
    """How many epochs of how many steps, and of which networks."""

    epochs: int = 100
    a_epoch: int = 5004  # 1,281,167 images in batches of 256
    batch: int = 256
    side: int = 224
    archs: tuple[str, ...] = ("resnet18", "resnet50")
    arch_args: Mapping[str, Any] = field(default_factory=dict)


SIZES = {
    "smoke": Size(2, 3, 8, 32, archs=("resnet18",), arch_args={"num_classes": 10}),
    "cpu": None,
    "full": Size(),
}


def recipes(size: Size) -> dict[str, Recipe]:
    """SGD, Nesterov 0.9, 0.1, a tenth at every 30th epoch of 100, weight decay 1e-4."""
    return {
        f"{arch}{bn} {variant}": recipe(arch, bn, variant, size)
        for arch in size.archs
        for bn in ("", " + BN")
        for variant in VARIANTS
    }


def recipe(arch: str, bn: str, variant: str, size: Size) -> Recipe:
    """Of one number in the table."""
    steps = size.epochs * size.a_epoch
    dropout = "0.3" if variant.startswith("dropout") else ""
    return Recipe(
        arch=arch,
        arch_args=size.arch_args,
        head=",".join(filter(None, ["bn" if bn else "", dropout])),
        data="imagenet",
        side=size.side,
        rate=0.1,
        momentum=0.9,
        weight_decay=2e-4 if variant.startswith("weight") else 1e-4,
        milestones=tuple(steps * part // 10 for part in (3, 6, 9)),
        batch=size.batch,
        steps=steps,
        tests=(steps,),
    )


def run(size: Size, setup: Setup) -> Outcome:
    """Train all, and tabulate the errors beside the paper's."""
    if setup.scale == "smoke":
        setup = replace(setup, root=setup.work)
        make_folder(setup.root / "imagenet", "digits", SMOKE_IMAGES, setup.root)
    errors = {
        name: train(name.replace(" ", "_"), each, setup).log.tests[each.steps]
        for name, each in recipes(size).items()
    }
    names = [name for name in PAPER if name.split(" ")[0] in size.archs]
    lines = [
        [
            name,
            *(
                f"{errors[f'{name} {v}']:.2f} ({p:.2f})"
                for v, p in zip(VARIANTS, PAPER[name], strict=True)
            ),
        ]
        for name in names
    ]
    whole = size == SIZES["full"]
    text = "; ".join(f"{name} {errors[f'{name} {VARIANTS[0]}']:.2f} %" for name in names)
    return Outcome(
        checks=tuple(
            Check(
                claim=f"{arch}, {variant}: top-1 error without | with the BN",
                paper=f"{PAPER[arch][k]:.2f} | {PAPER[f'{arch} + BN'][k]:.2f}",
                ours=f"{errors[f'{arch} {variant}']:.2f} | {errors[f'{arch} + BN {variant}']:.2f}",
                holds=errors[f"{arch} + BN {variant}"] < errors[f"{arch} {variant}"],
            )
            for arch in size.archs
            for k, variant in enumerate(VARIANTS)
        ),
        rows={next(iter(ROWS)): Row(status="reproduced" if whole else "partly", text=text)},
        numbers=errors,
        remarks="Top-1 error in percent (the paper's):\n\n" + table(("", *VARIANTS), lines),
        settings={"epochs": size.epochs},
    )


def make_folder(place: Path, data: str, count: int, root: Path) -> None:
    """Images of a data set as a folder, where there is no ImageNet."""
    from PIL import Image

    from condcli.data import open_data

    if place.exists():
        return
    opened = open_data(data, root=root, samples=count, normalize="none")
    images, labels = next(opened.batches(count))
    for k, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        for split in ("train", "val"):
            folder = place / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            pixels = (image * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels.squeeze()).convert("RGB").save(folder / f"{k}.png")

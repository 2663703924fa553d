"""Figures A8-A10: VGG-style and residual networks with and without BN, by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.by_depth import decades
from experiments.by_layer import ENDS, Found, hidden, late, measured
from experiments.depth_figure import FLOOR, PANELS, draw_by_depth, draw_losses
from experiments.imagenet import make_folder
from experiments.norms import Part, cifar, named, recipe
from experiments.recipe import Recipe
from experiments.setup import Check, Outcome, Row, Setup
from experiments.training import train

TITLE = "Convolutional networks, Plain and BN, by layer (Figures A8-A10)"
CLAIM = """**The paper** (appendix): what Figures 3 and 5 show of an MLP is seen in convolutional
networks, too, at learning rates of 0.1 and 0.01. Taken here as: BN makes the magnitudes of Σ_x and
Σ_∇h more level over the layers, and improves the condition numbers of both."""
ROWS = {
    "Figure A8": "VGG-style, 20 layers, CIFAR-10: λ_max and κ of Σ_x and Σ_∇h, Plain and BN",
    "Figure A9": "ResNet-20, CIFAR-10: the same",
    "Figure A10": "ResNet-18, ImageNet: the same",
}
ROWS_NOT_RUN = "`--scale cpu` takes half an hour on a processor"
TITLES = {"vgg_style": "VGG-style", "resnet": "ResNet", "resnet18": "ResNet-18"}
FIGURES = dict(zip(TITLES, ROWS, strict=True))
NAMES = {"none": "Plain", "bn": "BN"}
REMARKS = f"""The Plain networks begin as the paper's do, from He's law, with which Figure 3 has
level magnitudes without BN as well; BN's gradients grow towards the input, as in Figure A11.
λ_max(Σ_∇h) has the paper's scale, as if the loss were a mean over all places of a map: where the
maps halve in both directions, that alone is a factor of up to 16, with and without BN. A network
that has diverged has no line. {FLOOR}"""
SHOWN = (
    *("lambda_max_input", "lambda_max_grad", "kappa_input", "kappa_grad"),
    "stuck_share",
)
QUANTITIES = {name: PANELS[name] for name in SHOWN}


@dataclass(frozen=True, kw_only=True)
class Size:
    """The networks for CIFAR-10 at both rates, and ResNet-18 at one."""

    cifar: Part
    rates: tuple[float, ...] = (0.1, 0.01)
    side: int = 224  # pixels, of ResNet-18's images
    photos: str | None = "cifar10"  # which stand in for ImageNet; None: ImageNet itself
    count: int = 80  # of them
    steps: int = 10
    batch: int = 8
    layers: tuple[str, ...] = ()  # those recorded; none: all


SIZES = {
    "smoke": Size(
        cifar=Part(
            arch_args={"depth": 8, "channels": 1, "width": 4}, scaled=(), steps=3, images=256
        ),
        rates=(0.1,),
        side=32,
        photos="digits",
        count=16,
        steps=2,
        layers=("layer1.*",),
    ),
    "cpu": Size(cifar=cifar(130, 128), count=320, steps=20, batch=16),
    "full": Size(cifar=cifar(15_640, 128), photos=None, steps=50_040, batch=256),
}


def recipes(size: Size) -> dict[str, Recipe]:
    """Each network, Plain and BN, at each rate."""
    found = {
        named(arch, norm, rate, size.cifar): recipe(arch, norm, rate, size.cifar)
        for arch in ("vgg_style", "resnet")
        for rate in size.rates
        for norm in NAMES
    }
    return found | {f"resnet18-{norm}": imagenet(norm, size) for norm in NAMES}


def imagenet(norm: str, size: Size) -> Recipe:
    """ResNet-18: SGD, Nesterov 0.9, 0.1 for 256 images, weight decay 1e-4."""
    return Recipe(
        arch="resnet18",
        arch_args={"num_classes": 10 if size.photos else 1000, "norm": norm},
        data="imagenet",
        side=size.side,
        rate=0.1 * size.batch / 256,
        momentum=0.9,
        weight_decay=1e-4,
        batch=size.batch,
        steps=size.steps,
        record=(0, size.steps - 1),
        layers=size.layers,
    )


def run(size: Size, setup: Setup) -> Outcome:
    """Train all, read the records, draw, and look for the effects."""
    photos = setup
    if size.photos:
        photos = replace(setup, root=setup.work / "photos")
        make_folder(photos.root / "imagenet", size.photos, size.count, setup.root)
    found: dict[str, dict[str, Found]] = {}  # by panel's title, then Plain and BN
    for name, each in recipes(size).items():
        done = train(name, each, photos if each.side else setup)
        norm = str(each.arch_args["norm"])
        found.setdefault(title_of(each), {})[norm] = measured(done, (), setup)
        print(f"  {name}: {done.log.seconds:.0f} s", flush=True)
    checks = effects(found)
    return Outcome(
        checks=tuple(checks),
        rows=rows(found, checks, size),
        numbers=found,
        figures=draw(found, setup),
        remarks=REMARKS,
        settings={
            "CIFAR-10": f"{size.cifar.steps} steps of {size.cifar.batch} images",
            "ResNet-18": f"{size.steps} steps of {size.batch} "
            f"{f'{size.photos} images enlarged' if size.photos else 'ImageNet images'} to "
            f"{size.side} pixels",
        },
    )


def title_of(recipe: Recipe) -> str:
    """Network and rate."""
    return f"{TITLES[recipe.arch]}, rate {recipe.rate:.2g}"


def effects(found: Mapping[str, Mapping[str, Found]]) -> list[Check]:
    """What the paper states: of each network at initialisation, and at the end of each rate."""
    checks = []
    for title, networks in found.items():
        plain, bn = (networks[norm] for norm in NAMES)
        network = title.partition(",")[0]
        if not any(check.claim.startswith(f"{network},") for check in checks):
            checks += compared_at("first", f"{network}, {ENDS['first']}", plain, bn)
        checks += compared_at("last", f"{title}, {ENDS['last']}", plain, bn)
        claim = f"{title}: mean loss of the last tenth of the steps"
        checks.append(compared(claim, late(plain), late(bn)))
    return checks


def compared_at(end: str, title: str, plain: Found, bn: Found) -> list[Check]:
    """How level the magnitudes are, and how well conditioned the layers."""
    return [
        *(
            compared(
                f"{title}: decades of {PANELS[name]} over the hidden layers",
                *(decades(found[end][name][1:-1]) for found in (plain, bn)),
            )
            for name in ("lambda_max_input", "lambda_max_grad")
        ),
        *(
            compared(
                f"{title}: median {PANELS[name]} of the hidden layers",
                *(hidden(found[end][name]) for found in (plain, bn)),
            )
            for name in ("kappa_input", "kappa_grad")
        ),
    ]


def compared(claim: str, plain: float, bn: float) -> Check:
    """BN is expected to have less; what has diverged has no number, or an infinite one."""
    return Check(
        claim=f"{claim}, Plain | BN",
        paper="BN: less",
        ours=f"{plain:.3g} | {bn:.3g}",
        holds=bn < plain or (math.isnan(plain) and math.isfinite(bn)),
    )


def rows(
    found: Mapping[str, Mapping[str, Found]], checks: Sequence[Check], size: Size
) -> dict[str, Row]:
    """How many of the effects were seen in each figure's network."""
    result = {}
    for arch, figure in FIGURES.items():
        own = [check for check in checks if check.claim.startswith(f"{TITLES[arch]},")]
        seen = sum(check.holds for check in own)
        whole = size == SIZES["full"] and seen == len(own)
        kappas = "; ".join(
            f"{title}: median κ_50%(Σ_x) at the end {hidden(plain['last']['kappa_input']):.3g}, "
            f"with BN {hidden(bn['last']['kappa_input']):.3g}"
            for title, (plain, bn) in ((t, (n["none"], n["bn"])) for t, n in found.items())
            if title.startswith(f"{TITLES[arch]},")
        )
        text = f"{seen} of {len(own)} effects; {kappas}" + ("" if whole else "; first steps only")
        result[figure] = Row(status="reproduced" if whole else "partly", text=text)
    return result


def draw(found: Mapping[str, Mapping[str, Found]], setup: Setup) -> tuple[str, ...]:
    """The losses, and for each network the quantities by layer."""
    losses = {
        title: {NAMES[norm]: each["loss"] for norm, each in networks.items()}
        for title, networks in found.items()
    }
    figures = [draw_losses("cnn_loss.png", losses, setup, top=4)]
    for arch, title in TITLES.items():
        own = {name: each for name, each in found.items() if name.startswith(f"{title},")}
        columns = {ENDS["first"]: named_at("first", next(iter(own.values())))}
        for name, networks in own.items():
            columns[f"{name.removeprefix(f'{title}, ')}, {ENDS['last']}"] = named_at(
                "last", networks
            )
        figures.append(draw_by_depth(f"cnn_{arch}.png", QUANTITIES, columns, setup))
    return tuple(figures)


def named_at(end: str, networks: Mapping[str, Found]) -> dict[str, Any]:
    """Of one column of panels."""
    return {NAMES[norm]: each[end] for norm, each in networks.items()}

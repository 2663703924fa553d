"""Makes the pictures of docs/plots.md: `python docs/plots/make.py --root DATA --work FOLDER`.

DATA holds MNIST (as `condcli probe --data mnist --root DATA` takes it). The trainings are recorded
by `condcli.Recorder`. Into FOLDER go the statistics and, as PNG, the figures; `--copy` puts these
beside this file. On one thread it takes some minutes. Runs that are there are not trained again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

import condcli
from condcli.cli import run
from condcli.data import open_data
from condcli.models import ZOO

HERE = Path(__file__).parent
SAMPLES = ("mlp20_default", "mlp20_he", "mlp20_bn")
DEPTH_20 = {"depth": 20, "width": 256}
RESNET = {"channels": 1, "depth": 110, "width": 4}
MNIST = "0.1307/0.3081"
DIGITS = "0.3051/0.375"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network, how it is trained by SGD, and which steps and layers are recorded."""

    arch: str
    arch_args: dict[str, object]
    data: str
    normalize: str
    batch: int
    rate: float
    momentum: float = 0.0  # Nesterov's
    weight_decay: float = 0.0
    steps: tuple[int, ...]
    layers: tuple[str, ...] = ()  # all


def mlp20(**more: object) -> Recipe:
    """The network of the paper's figures 3 and 5."""
    return Recipe(
        arch="mlp",
        arch_args=DEPTH_20 | more,
        data="mnist",
        normalize=MNIST,
        batch=1024,
        rate=0.1,
        steps=(0, 1, 2, 5, *range(10, 201, 10)),
    )


def resnet110(arch: str) -> Recipe:
    """The network of figure 7, as narrow as that of sample_checkpoints/."""
    return Recipe(
        arch=arch,
        arch_args=RESNET,
        data="digits",
        normalize=DIGITS,
        batch=128,
        rate=0.2,
        momentum=0.9,
        weight_decay=1e-4,
        steps=(0, 1, 2, 3, 4, 6, 8, 10, 13, 16, 20),
        layers=("fc",),
    )


RUNS = {
    "plain": mlp20(),
    "bn": mlp20(norm="bn"),
    "resnet": resnet110("resnet"),
    "resnet_lastbn": resnet110("resnet_lastbn"),
}
FIGURES = {
    "depth": "mlp20_default.h5 mlp20_he.h5 mlp20_bn.h5 --percent 50",
    "spectra": "mlp20_default.h5 mlp20_bn.h5",
    "matrices": "mlp20_bn.h5 --layers fc[12]",
    "domination": "mlp20_default.h5 mlp20_he.h5 mlp20_bn.h5",
    "neurons": "mlp20_default.h5 mlp20_he.h5 mlp20_bn.h5",
    "activity": "mlp20_default.h5 --layers relu?",
    "run-fisher": "plain bn --label Plain --label BN --percent 50",
    "run-magnitude": "plain bn --label Plain --label BN",
    "run-conditioning": "plain bn --label Plain --label BN --percent 50",
    "run-neurons": "plain bn --label Plain --label BN",
    "run-domination": "plain bn --label Plain --label BN",
    "run-last-layer": "resnet resnet_lastbn --label ResNet --label ResNetLastBN",
}


def main() -> None:
    """Train, probe and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of MNIST")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything made")
    parser.add_argument("--copy", action="store_true", help="put the figures beside this file")
    parser.add_argument("names", nargs="*", help="only these figures")
    options = parser.parse_args()
    root = options.root.absolute()
    options.work.mkdir(exist_ok=True)
    os.chdir(options.work)
    torch.set_num_threads(1)
    for name in SAMPLES:
        checkpoint = HERE.parents[1] / "sample_checkpoints" / f"{name}.pt"
        command("probe", str(checkpoint), "--data", "digits", "-o", f"{name}.h5", "--force")
    for name, recipe in RUNS.items():
        if not Path(name).exists():
            train(recipe, Path(name), root)
    for kind in options.names or FIGURES:
        place = HERE / f"{kind}.png" if options.copy else Path(f"{kind}.png")
        command("plot", kind, *FIGURES[kind].split(), "-o", str(place), "--force", "--dpi", "120")


def command(*words: str) -> None:
    """Run condcli; a failure ends everything."""
    code = run(words)
    if code:
        raise SystemExit(code)


def train(recipe: Recipe, folder: Path, root: Path) -> None:
    """Train a network and record some of the steps."""
    torch.manual_seed(0)
    model = ZOO[recipe.arch](**recipe.arch_args)
    optimizer = torch.optim.SGD(
        model.parameters(),
        recipe.rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    recorder = condcli.Recorder(
        model, folder, every=recipe.steps.__contains__, layers=recipe.layers, data=recipe.data
    )
    for inputs, labels in islice(minibatches(recipe, root), recipe.steps[-1] + 1):
        with recorder.step():
            loss = functional.cross_entropy(model(inputs), labels)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    recorder.close()


def minibatches(recipe: Recipe, root: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Mini-batches of the training split, without end."""
    data = open_data(
        recipe.data, root=root, split="train", samples=None, normalize=recipe.normalize
    )
    inputs, labels = next(data.batches(data.examples))
    generator = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(len(labels), generator=generator)
        for chosen in order.split(recipe.batch)[: len(labels) // recipe.batch]:
            yield inputs[chosen], labels[chosen]


if __name__ == "__main__":
    main()

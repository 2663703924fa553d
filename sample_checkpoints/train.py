"""Trains the sample checkpoints beside this file: `python sample_checkpoints/train.py [NAME ...]`.

Each shows one phenomenon of Huang et al. 2020 (arXiv 2002.10801); README.md tells which. Seeds are
fixed and torch runs on one thread with deterministic algorithms, so a rerun with the same torch on
the same kind of processor writes the same bytes. Elsewhere the last bits of a sum may differ, and
training magnifies that: the phenomena stay, the numbers move.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from condcli.data import open_data
from condcli.models import ZOO, write_checkpoint

SEED = 0
BATCH = 128
NORMALIZE = "0.3051/0.375"  # the usual mean and standard deviation of the digits
# Before BN, weights this much larger leave the function as it is and divide their gradient by it.
DOMINATION = 1000.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network, and how long and how fast to train it by SGD on mini-batches of digits."""

    arch: str
    arch_args: Mapping[str, object]
    steps: int
    rate: float  # learning rate, constant
    momentum: float = 0.0  # Nesterov's
    weight_decay: float = 0.0
    dominated: tuple[str, ...] = ()  # layers whose initial weights are multiplied by DOMINATION


MLP20 = {"inputs": 64, "depth": 20, "width": 64}
MLP5 = {"inputs": 64, "depth": 5, "width": 64}
RESNET110 = {"channels": 1, "depth": 110, "width": 4}


def mlp20(**more: object) -> Recipe:
    """Stopped half-way: once a network fits every digit, all its gradients are small."""
    return Recipe(arch="mlp", arch_args=MLP20 | more, steps=100, rate=0.02)


def mlp5(*, rate: float = 0.1, dominated: tuple[str, ...] = (), **more: object) -> Recipe:
    """Trained until the healthy ones name nearly every training digit right."""
    return Recipe(arch="mlp", arch_args=MLP5 | more, steps=200, rate=rate, dominated=dominated)


def resnet110(arch: str, *, steps: int) -> Recipe:
    """Stopped early, for the last layer is spoilt in the first steps.

    The paper's SGD at twice its rate: at 0.1, so narrow a network fails from some seeds only.
    """
    return Recipe(
        arch=arch, arch_args=RESNET110, steps=steps, rate=0.2, momentum=0.9, weight_decay=1e-4
    )


RECIPES: dict[str, Recipe] = {
    "mlp20_default": mlp20(init="default"),
    "mlp20_he": mlp20(init="he"),
    "mlp20_bn": mlp20(norm="bn"),
    "mlp5_bn": mlp5(norm="bn"),
    "mlp5_dominated": mlp5(norm="bn", dominated=("fc1", "fc2", "fc3")),
    "mlp5_he": mlp5(init="he"),
    "mlp5_dying": mlp5(init="he", rate=0.75),
    "resnet110_step1": resnet110("resnet", steps=1),
    "resnet110_lastbn_step1": resnet110("resnet_lastbn", steps=1),
    "resnet110": resnet110("resnet", steps=25),
    "resnet110_lastbn": resnet110("resnet_lastbn", steps=25),
}


def main(arguments: list[str] | None = None) -> None:
    """Trains the named checkpoints, or all, and writes them into the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RECIPES))
    parser.add_argument("--to", type=Path, default=Path(__file__).parent, metavar="FOLDER")
    parser.add_argument(
        "--every", type=int, metavar="N", help="also keep step 0, N, 2N …, as NAME_00000000.pt …"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(RECIPES):
        parser.error(f"no recipe called {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in options.names or RECIPES:
        recipe = RECIPES[name]

        def keep(step: int, model: nn.Module, name: str = name, recipe: Recipe = recipe) -> None:
            if options.every and step % options.every == 0:
                write(recipe, model, step, options.to / f"{name}_{step:08}.pt")

        model, loss = train(recipe, keep)
        write(recipe, model, recipe.steps, options.to / f"{name}.pt")
        print(f"{name}.pt: loss {loss:.4f} on the last batch")


def write(recipe: Recipe, model: nn.Module, step: int, file: Path) -> None:
    """Writes the checkpoint of a step."""
    write_checkpoint(
        file,
        model.state_dict(),
        arch=recipe.arch,
        arch_args=recipe.arch_args,
        step=step,
        data="digits",
        normalize=NORMALIZE,
    )


def train(
    recipe: Recipe, keep: Callable[[int, nn.Module], None] = lambda step, model: None
) -> tuple[nn.Module, float]:
    """The trained network, and its loss on the last mini-batch before the last step.

    `keep` is called with the network at every step, from 0, and how many there have been.
    """
    torch.manual_seed(SEED)
    model = ZOO[recipe.arch](**recipe.arch_args)
    for name in recipe.dominated:
        with torch.no_grad():
            model.get_parameter(f"{name}.weight").mul_(DOMINATION)
    optimizer = torch.optim.SGD(
        model.parameters(),
        recipe.rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    keep(0, model)
    for step, (inputs, labels) in enumerate(minibatches(recipe.steps), start=1):
        loss = functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        keep(step, model)
    return model, loss.item()


def minibatches(steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """So many full mini-batches of the training digits, the same for every recipe."""
    digits = open_data("digits", split="train", samples=None, normalize=NORMALIZE)
    inputs, labels = next(digits.batches(digits.examples))
    generator = torch.Generator().manual_seed(SEED)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(labels), generator=generator)
        chosen, order = order[:BATCH], order[BATCH:]
        yield inputs[chosen], labels[chosen]


if __name__ == "__main__":
    main()

"""Figures 4 and A12: layers in weight domination: the loss still falls, to a worse end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.by_depth import LAYER, Depths, recorded
from experiments.depth_figure import draw_by_depth, draw_losses
from experiments.recipe import Recipe
from experiments.setup import Check, Outcome, Row, Setup, row_of
from experiments.training import Run, train

TITLE = "Layers in weight domination (Figures 4 and A12)"
CLAIM = """**The paper** (section 4): where a layer's weight is much larger than its gradient, the
layer hardly learns, while the loss still falls, as the other layers learn on top of it: training
ends worse, with the false impression of a local minimum. It holds for MLPs and for CNNs. Here the
initial weights of some layers, each followed by a BN, are multiplied by 1,000: the network's
function stays, and their gradients are divided by 1,000 (Theorem 4.2)."""
ROWS = {
    "Figure 4": "5-layer MLP, MNIST: some layers in weight domination",
    "Figure A12": "the same of a CNN, CIFAR-10",
}
ROWS_NOT_RUN = "`--scale cpu` takes minutes on a processor"
FACTOR = 1000.0
DOMINATED = 1e-4  # σ_max(∂L/∂W) / σ_max(W), the threshold of `condcli domination`


MLP = {"arch": "mlp", "arch_args": {"depth": 5, "width": 256, "norm": "bn"}, "batch": 1024}
CNN = {"arch": "vgg_style", "arch_args": {"depth": 8}, "data": "cifar10", "batch": 128}
FC = tuple(f"fc{k}" for k in range(1, 5))
CONV = ("stem", *(f"stage{stage}.{k}.conv" for stage in (1, 2, 3) for k in (0, 1)))


@dataclass(frozen=True)
class Network:
    """What a Recipe takes, and the layers that are dominated, by what the figure calls them."""

    title: str
    recipe: Mapping[str, Any]
    dominated: Mapping[str, tuple[str, ...]]

    @property
    def steps(self) -> int:
        """How many."""
        return int(self.recipe["steps"])


@dataclass(frozen=True)
class Size:
    """The networks by name."""

    networks: Mapping[str, Network]


BY_FC = {"none": (), "fc1": FC[:1], **{f"fc1 to fc{k}": FC[:k] for k in range(2, 5)}}
BY_CONV = {"none": (), "stem": CONV[:1], "stem to stage 1": CONV[:3], "stem to stage 3": CONV}
SMALL_LOSS = 0.01  # that a linear scale does not show

SIZES = {
    "smoke": Size(
        {
            "mlp": Network(
                "MLP",
                {
                    **MLP,
                    "arch_args": {"inputs": 64, "depth": 5, "width": 32, "norm": "bn"},
                    "data": "digits",
                    "batch": 128,
                    "steps": 5,
                },
                {"none": (), "fc1 to fc4": FC},
            )
        }
    ),
    "cpu": Size(
        {
            "mlp": Network("5-layer MLP", {**MLP, "steps": 5_900}, BY_FC),
            "cnn": Network("8-layer CNN", {**CNN, "steps": 200}, BY_CONV),
        }
    ),
    "full": Size(
        {
            "mlp": Network("5-layer MLP", {**MLP, "steps": 5_900}, BY_FC),
            "cnn": Network(
                "20-layer CNN",
                {**CNN, "arch_args": {"depth": 20}, "augment": True, "steps": 62_560},
                {"none": (), "stem": CONV[:1], "two convolutions a stage": CONV},
            ),
        }
    ),
}


def recipes(size: Size) -> dict[str, Recipe]:
    """SGD at rate 0.1 of each network, with each choice of its layers dominated."""
    return {
        f"domination-{name}-{number}": recipe(network, layers)
        for name, network in size.networks.items()
        for number, layers in enumerate(network.dominated.values())
    }


def recipe(network: Network, layers: Sequence[str]) -> Recipe:
    """One training; recorded at its first and its last step, its test error taken at the end."""
    return Recipe(
        **{"rate": 0.1, **network.recipe},
        scaled=dict.fromkeys(layers, FACTOR),
        record=(0, network.steps - 1),
        per_example="none",
        checkpoints=(0, network.steps),
        tests=(network.steps,),
    )


@dataclass(frozen=True)
class Trained:
    """One training, and what its records say by layer."""

    done: Run
    steps: Mapping[int, Depths]

    @property
    def losses(self) -> list[float]:
        """Of every step."""
        return self.done.log.losses

    @property
    def late(self) -> float:
        """The mean loss of the last tenth of the steps."""
        return self.done.late

    @property
    def test_error(self) -> float:
        """Percent, at the end."""
        return self.done.log.tests[len(self.losses)]


def run(size: Size, setup: Setup) -> Outcome:
    """Train all, draw, and compare them with the network of which no layer is dominated."""
    found: dict[str, dict[str, Trained]] = {name: {} for name in size.networks}
    for name, network in size.networks.items():
        for number, (label, layers) in enumerate(network.dominated.items()):
            done = train(f"domination-{name}-{number}", recipe(network, layers), setup)
            found[name][label] = Trained(done, recorded(done.stats))
            print(f"  {name}, dominated {label}: {found[name][label].late:.4f}", flush=True)
    effects = {name: effects_of(network, found[name]) for name, network in size.networks.items()}
    return Outcome(
        checks=tuple(check for checks in effects.values() for check in checks),
        rows=rows(effects, found, size),
        numbers={name: numbers(each) for name, each in found.items()},
        figures=tuple(draw(found, size, setup)),
        settings={
            network.title: f"{network.steps} steps of {network.recipe['batch']}"
            for network in size.networks.values()
        },
    )


def effects_of(network: Network, found: Mapping[str, Trained]) -> list[Check]:
    """Of all that are dominated against the one that is not."""
    free, *dominated = found.values()
    most = dominated[-1]
    ratios = [
        depths["ratio"][layer]
        for label, each in found.items()
        for depths in each.steps.values()
        for layer in range(len(network.dominated[label]))
    ]
    first = [each.losses[0] for each in dominated]
    return [
        Check(
            claim=f"{network.title}: largest σ_max(∂L/∂W) / σ_max(W) of the dominated layers",
            paper="≪ 1",
            ours=f"{max(ratios):.2g}",
            holds=max(ratios) < DOMINATED,
        ),
        Check(
            claim=f"{network.title}: loss of the dominated, at the start and at the end",
            paper="falls",
            ours=" | ".join(
                f"{a:.2f}, {each.late:.3g}" for a, each in zip(first, dominated, strict=True)
            ),
            holds=all(each.late < a for a, each in zip(first, dominated, strict=True)),
        ),
        Check(
            claim=f"{network.title}: training loss at the end, {' | '.join(found)}",
            paper="worse than none",
            ours=" | ".join(f"{each.late:.3g}" for each in found.values()),
            holds=free.late < min(each.late for each in dominated) and most.late > 1.1 * free.late,
        ),
        Check(
            claim=f"{network.title}: test error at the end, {' | '.join(found)}",
            paper="worse than none",
            ours=" | ".join(f"{each.test_error:.2f} %" for each in found.values()),
            holds=most.test_error > free.test_error,
        ),
    ]


def rows(
    effects: Mapping[str, Sequence[Check]],
    found: Mapping[str, Mapping[str, Trained]],
    size: Size,
) -> dict[str, Row]:
    """What each figure came to."""
    wanted = {"Figure 4": "mlp", "Figure A12": "cnn"}
    done = {}
    for row, name in wanted.items():
        if name not in found:
            continue
        free, most = (list(found[name].values())[place] for place in (0, -1))
        network, whole = size.networks[name], SIZES["full"].networks[name]
        text = (
            f"training loss {free.late:.3g}, and {most.late:.3g} with {list(found[name])[-1]} "
            f"dominated; test error {free.test_error:.2f} % and {most.test_error:.2f} %"
        )
        short = network.steps < whole.steps
        missing = f"{network.title}, {network.steps} steps instead of {whole.steps:,}"
        done[row] = row_of(effects[name], text, missing=missing if short else "")
    return done


def numbers(found: Mapping[str, Trained]) -> dict[str, Any]:
    """All of one network, by which layers are dominated."""
    return {
        label: {
            "loss": each.losses,
            "test error": each.test_error,
            "steps": {str(step): depths for step, depths in each.steps.items()},
        }
        for label, each in found.items()
    }


def draw(found: Mapping[str, Mapping[str, Trained]], size: Size, setup: Setup) -> Iterator[str]:
    """Of each network the losses by step, and two quantities by layer, at the first and last."""
    titles = {name: LAYER[name] for name in ("ratio", "lambda_max")}
    for name, network in size.networks.items():
        losses = {label: each.losses for label, each in found[name].items()}
        panels = {f"{network.title}, by which layers are dominated": losses}
        log = min(map(min, losses.values())) < SMALL_LOSS
        yield draw_losses(f"weight_domination_{name}.png", panels, setup, top=2.5, log=log)
        columns = {
            f"{network.title}, step {step}": {
                label: each.steps[step] for label, each in found[name].items()
            }
            for step in (0, network.steps - 1)
        }
        yield draw_by_depth(f"weight_domination_{name}_layers.png", titles, columns, setup)

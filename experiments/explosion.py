"""Figure A11: a hundred layers with BN in their first steps: explosion, then weight domination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from experiments.by_depth import LAYER, Depths, recorded, rise
from experiments.depth_figure import draw_by_depth
from experiments.recipe import Recipe
from experiments.setup import Check, Outcome, Row, Setup, row_of
from experiments.training import train

TITLE = "A hundred layers with BN, the first seven steps (Figure A11)"
CLAIM = """**The paper** (section 4 and appendix): BN does not keep gradients from exploding at
initialisation: λ_max(Σ_∇h) grows exponentially from the last layer down to the first. After one
step the weights of the lower layers are huge and, since BN divides a gradient by its weight's
scale, their gradients tiny: weight domination (Definition 1). They stay where that step left
them."""
ROWS = {"Figure A11": "100-layer MLP with BN on MNIST, and a 110-layer VGG-style on CIFAR-10"}
ROWS_NOT_RUN = "`--scale cpu` takes minutes on a processor"
QUANTITIES = ("lambda_max_grad", "sigma_max_weight", "sigma_max_grad", "ratio")
DOMINATED = 1e-3  # σ_max(∂L/∂W) / σ_max(W): a step at rate 0.1 moves no weight by 1e-4 of its size


@dataclass(frozen=True)
class Size:
    """The networks by name, each with what a Recipe takes."""

    networks: Mapping[str, Mapping[str, object]]
    steps: int = 7


MLP100 = {"arch_args": {"depth": 100, "width": 256, "norm": "bn"}, "rate": 0.1}
VGG110 = {"arch": "vgg_style", "arch_args": {"depth": 110}, "data": "cifar10", "batch": 128}
SIZES = {
    "smoke": Size(
        {
            "mlp": {
                "arch_args": {"inputs": 64, "depth": 20, "width": 32, "norm": "bn"},
                "data": "digits",
                "images": 256,
            }
        },
        steps=3,
    ),
    "cpu": Size({"mlp100": {**MLP100, "images": 4096}, "vgg110": VGG110}),
    "full": Size({"mlp100": MLP100, "vgg110": VGG110}),
}
NAMES = {"mlp": "MLP", "mlp100": "100-layer MLP", "vgg110": "110-layer VGG-style"}


def recipes(size: Size) -> dict[str, Recipe]:
    """SGD at rate 0.1; every step is recorded."""
    every = tuple(range(size.steps))
    return {
        f"explosion-{name}": Recipe(
            **{"arch": "mlp", **network},  # type: ignore[arg-type]
            steps=size.steps,
            record=every,
            per_example="none",
            checkpoints=(0, 1, size.steps),
        )
        for name, network in size.networks.items()
    }


def run(size: Size, setup: Setup) -> Outcome:
    """Train, read every step, draw, and look for the effects."""
    found, losses = {}, {}
    for name, recipe in zip(size.networks, recipes(size).values(), strict=True):
        done = train(f"explosion-{name}", recipe, setup)
        found[name], losses[name] = recorded(done.stats), done.log.losses
        print(f"  {name}: {done.log.seconds:.0f} s", flush=True)
    checks = [check for name, steps in found.items() for check in effects(NAMES[name], steps)]
    return Outcome(
        checks=tuple(checks),
        rows=rows(checks, size),
        numbers={
            name: {"loss": losses[name], "steps": {str(step): each for step, each in steps.items()}}
            for name, steps in found.items()
        },
        figures=draw(found, setup),
        settings=settings(size),
    )


def effects(name: str, steps: Mapping[int, Depths]) -> list[Check]:
    """Before the first step, and after it."""
    before, after = steps[0], steps[1]
    explosion = rise(before["lambda_max_grad"])
    weights, grads = (
        (lower(before[quantity]), lower(after[quantity]))
        for quantity in ("sigma_max_weight", "sigma_max_grad")
    )
    ratios = lower(before["ratio"]), lower(after["ratio"])
    later = max(lower(each["ratio"]) for step, each in steps.items() if step >= 1)
    return [
        Check(
            claim=f"{name}, initialisation: λ_max(Σ_∇h) of the first layer over the last's",
            paper="explodes",
            ours=f"{explosion:.1f} decades",
            holds=explosion >= len(before["ratio"]) / 25,
        ),
        Check(
            claim=f"{name}: median σ_max(W) of the lowest tenth, before and after one step",
            paper="small, then huge",
            ours=f"{weights[0]:.3g}, then {weights[1]:.3g}",
            holds=weights[1] > 10 * weights[0],
        ),
        Check(
            claim=f"{name}: median σ_max(∂L/∂W) of the lowest tenth, before and after one step",
            paper="huge, then tiny",
            ours=f"{grads[0]:.3g}, then {grads[1]:.3g}",
            holds=grads[1] < grads[0] / 10,
        ),
        Check(
            claim=f"{name}: median σ_max(∂L/∂W) / σ_max(W) of the lowest tenth, before and after",
            paper="weight domination: ≪ 1",
            ours=f"{ratios[0]:.3g}, then {ratios[1]:.3g}; later at most {later:.3g}",
            holds=max(ratios[1], later) < DOMINATED,
        ),
    ]


def lower(values: Sequence[float]) -> float:
    """The median of the lowest tenth of the layers."""
    return median(values[: len(values) // 10])


def rows(checks: Sequence[Check], size: Size) -> dict[str, Row]:
    """What the figure came to."""
    short = [check for check in checks if "initialisation" in check.claim or "/ σ" in check.claim]
    text = "; ".join(f"{check.claim}: {check.ours}" for check in short)
    return {"Figure A11": row_of(checks, text, missing=reduced(size))}


def reduced(size: Size) -> str:
    """What is less than the paper's."""
    counts = {name: network.get("images") for name, network in size.networks.items()}
    return "; ".join(
        f"{NAMES[name]} on the first {count:,} images" for name, count in counts.items() if count
    )


def settings(size: Size) -> dict[str, str]:
    """How much was run."""
    return {
        NAMES[name]: ", ".join(f"{key} {value}" for key, value in network.items())
        for name, network in size.networks.items()
    }


def draw(found: Mapping[str, Mapping[int, Depths]], setup: Setup) -> tuple[str, ...]:
    """Four quantities by layer, a line a step, a column for each network."""
    columns = {
        NAMES[name]: {f"step {step}": each for step, each in steps.items()}
        for name, steps in found.items()
    }
    titles = {quantity: LAYER[quantity] for quantity in QUANTITIES}
    return (draw_by_depth("explosion.png", titles, columns, setup, ordered=True),)

"""Figures 3, 5, A5-A7 and A13: a 20-layer MLP on MNIST, Plain and BN, by layer and over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.document import table
from experiments.by_depth import TITLES, Depths, decades, recorded, rise
from experiments.by_layer import hidden
from experiments.depth_figure import draw_by_depth, draw_losses
from experiments.recipe import Recipe
from experiments.setup import Check, Outcome, Row, Setup, row_of
from experiments.training import Run, train

TITLE = "A 20-layer MLP, Plain and BN, by depth (Figures 3, 5, A5-A7 and A13)"
CLAIM = """**The paper** (section 4): in a plain network under the default (LeCun) initialisation,
λ_max(Σ_x) and λ_max(Σ_∇h) fall exponentially with depth; He's initialisation and BN keep both
level. BN improves the condition number of Σ_x, and also that of Σ_∇h. Dying and full neurons grow
with depth in the plain network, and there are none with BN. It holds for gradient descent, SGD and
Adam."""
ROWS = {
    "Figure 3": "λ_max(Σ_x) and λ_max(Σ_∇h) by layer and step; GD, default and He initialisation",
    "Figure 5": "BN improves κ_p of Σ_x and of Σ_∇h",
    "Figures A5-A7": "the same with SGD and Adam, batches of 1,024",
    "Figure A13": "dying and full neurons by layer",
}
ROWS_NOT_RUN = "`--scale cpu` takes an hour on a processor"
NETWORKS = {
    "plain": ("Plain", {"norm": "none", "init": "default"}),
    "plain_he": ("Plain, He", {"norm": "none", "init": "he"}),
    "bn": ("BN", {"norm": "bn", "init": "default"}),
    "bn_he": ("BN, He", {"norm": "bn", "init": "he"}),
}
REMARKS = """κ(Σ_∇h) compares networks at like losses only: one that has fitted most images has
gradients from few of them left, and a κ that is large for that. So it is checked at initialisation.
3.3e+04 is the noise floor of float32 at width 256: κ is that or more. Lines of κ have gaps where it
is infinite, as half of the neurons are off on all images. With Adam even the plain network learns,
as its steps do not shrink with the gradient."""
KAPPAS = ("kappa_input", "kappa_grad")


@dataclass(frozen=True)
class Way:
    """How to descend: an optimizer of a Recipe, its batch (None: all images), steps and rates."""

    title: str
    optimizer: str
    batch: int | None
    steps: int
    rates: tuple[float, ...]
    images: int | None = None  # the first so many; None: all


@dataclass(frozen=True)
class Size:
    """The MLP, the images, and the ways."""

    ways: Mapping[str, Way]
    data: str = "mnist"
    arch_args: Mapping[str, Any] = field(default_factory=lambda: {"depth": 20, "width": 256})


SIZES = {
    "smoke": Size(
        {"gd": Way("GD", "sgd", None, 2, (0.1, 0.3), images=256)},
        data="digits",
        arch_args={"inputs": 64, "depth": 8, "width": 32},
    ),
    "cpu": Size(
        {
            "gd": Way("GD", "sgd", None, 60, (0.1, 0.3)),
            "sgd": Way("SGD", "sgd", 1024, 174, (0.03, 0.1)),
            "adam": Way("Adam", "adam", 1024, 174, (0.0003, 0.001)),
        }
    ),
    "full": Size(
        {
            "gd": Way("GD", "sgd", None, 1000, (0.01, 0.03, 0.1, 0.3, 1.0)),
            "sgd": Way("SGD", "sgd", 1024, 4700, (0.01, 0.03, 0.1, 0.3, 1.0)),
            "adam": Way("Adam", "adam", 1024, 4700, (0.0001, 0.0003, 0.001, 0.003)),
        }
    ),
}


def recipes(size: Size) -> dict[str, Recipe]:
    """Every network with every way and rate, as WAY-NETWORK-RATE."""
    return {
        f"{way}-{network}-{rate:g}": recipe(network, size.ways[way], rate, size)
        for way in size.ways
        for network in NETWORKS
        for rate in size.ways[way].rates
    }


def recipe(network: str, way: Way, rate: float, size: Size) -> Recipe:
    """One training; recorded at the start, half-way and at the last step."""
    return Recipe(
        arch="mlp",
        arch_args={**size.arch_args, **NETWORKS[network][1]},
        data=size.data,
        images=way.images,
        optimizer=way.optimizer,
        rate=rate,
        batch=way.batch,
        steps=way.steps,
        record=(0, way.steps // 2, way.steps - 1),
        per_example="none",
        checkpoints=(0, way.steps),
    )


def run(size: Size, setup: Setup) -> Outcome:
    """Train all, take the best rate of each, read its records, draw, and look for the effects."""
    best = {
        (way, network): best_of(way, network, size, setup)
        for way in size.ways
        for network in NETWORKS
    }
    found = {key: recorded(done.stats) for key, (_, done) in best.items()}
    pictures = draw(best, found, size, setup)
    checks = [check for way in size.ways for check in effects(way, found, size)]
    return Outcome(
        checks=tuple(checks),
        rows=rows(checks, size),
        numbers={
            f"{way}-{network}": {
                "rate": rate,
                "loss": done.log.losses,
                "steps": {str(step): depths for step, depths in found[way, network].items()},
            }
            for (way, network), (rate, done) in best.items()
        },
        figures=pictures,
        remarks=remarks(best, found, size),
        settings=settings(size),
    )


def best_of(way: str, network: str, size: Size, setup: Setup) -> tuple[float, Run]:
    """The rate with the least loss over the last tenth of its steps, and its training."""
    done = {}
    for rate in size.ways[way].rates:
        name = f"{way}-{network}-{rate:g}"
        done[rate] = train(name, recipe(network, size.ways[way], rate, size), setup)
        print(f"  {name}: {done[rate].late:.4f}, {done[rate].log.seconds:.0f} s", flush=True)
    rate = min(done, key=lambda rate: done[rate].late)
    return rate, done[rate]


Found = Mapping[tuple[str, str], Mapping[int, Depths]]  # by way and network, then by step


def effects(way: str, found: Found, size: Size) -> list[Check]:
    """What the paper states, for one way to descend."""
    first = {network: found[way, network][0] for network in NETWORKS}
    last = {network: end(found[way, network]) for network in NETWORKS}
    title = size.ways[way].title
    return [
        *(at_start(first, size) if way == next(iter(size.ways)) else []),
        _kappa(f"{title}, end", "kappa_input", last),
        *_neurons(title, last),
    ]


def at_start(first: Mapping[str, Depths], size: Size) -> list[Check]:
    """At initialisation, which is the same for all ways."""
    title = "initialisation"
    kappas = [_kappa(title, name, first) for name in KAPPAS]
    return [*magnitudes(first, size), *kappas]


def magnitudes(first: Mapping[str, Depths], size: Size) -> list[Check]:
    """λ_max of Σ_x and Σ_∇h over the layers."""
    grads = {name: depths["lambda_max_grad"] for name, depths in first.items()}
    inputs = {name: depths["lambda_max_input"][1:] for name, depths in first.items()}
    depth = int(size.arch_args["depth"])
    fall = -rise(grads["plain"])
    return [
        Check(
            claim="initialisation, Plain: λ_max(Σ_∇h) from the last layer down to the first",
            paper="falls exponentially",
            ours=f"falls by {fall:.1f} decades over {depth} layers",
            holds=fall >= depth / 2,
        ),
        Check(
            claim="initialisation, Plain: λ_max(Σ_x) from the second layer up to the last",
            paper="falls",
            ours=f"{inputs['plain'][0]:.3g} to {inputs['plain'][-1]:.3g}",
            holds=inputs["plain"][-1] < inputs["plain"][0] / 3,
        ),
        *(
            Check(
                claim=f"initialisation, {NETWORKS[name][0]}: decades by which λ_max(Σ_∇h) of the "
                "first layer is above the last's; between λ_max(Σ_x) of all but the first layer",
                paper="level",
                ours=f"{rise(grads[name]):.1f}; {decades(inputs[name]):.1f}",
                holds=abs(rise(grads[name])) <= 2 and decades(inputs[name]) <= 2,
            )
            for name in ("plain_he", "bn", "bn_he")
        ),
    ]


def _kappa(title: str, name: str, last: Mapping[str, Depths]) -> Check:
    medians = {network: hidden(last[network][name]) for network in ("plain", "plain_he", "bn")}
    return Check(
        claim=f"{title}: median {TITLES[name]} of the hidden layers, Plain | Plain, He | BN",
        paper="BN improves it",
        ours=" | ".join(f"{value:.2g}" for value in medians.values()),
        holds=medians["bn"] < min(medians["plain"], medians["plain_he"]),
    )


def _neurons(title: str, last: Mapping[str, Depths]) -> list[Check]:
    """Dying and full neurons together, of the first quarter of the layers and of the last."""
    shares = {}
    for network, depths in last.items():
        both = [sum(two) for two in zip(depths["dying_share"], depths["full_share"], strict=True)]
        quarter = max(1, len(both) // 4)
        shares[network] = sum(both[:quarter]) / quarter, sum(both[-quarter:]) / quarter
    plain, bn = shares["plain"], max(shares["bn"] + shares["bn_he"])
    return [
        Check(
            claim=f"{title}, end, Plain: dying and full neurons, lowest and highest quarter",
            paper="grow with depth",
            ours=f"{plain[0]:.1%} and {plain[1]:.1%}",
            holds=plain[1] > plain[0],
        ),
        Check(
            claim=f"{title}, end, BN: dying and full neurons, the larger of the two",
            paper="none",
            ours=f"{bn:.2%}",
            holds=bn <= 0.02,
        ),
    ]


def end(steps: Mapping[int, Depths]) -> Depths:
    """The last recorded step."""
    return steps[max(steps)]


def rows(checks: Sequence[Check], size: Size) -> dict[str, Row]:
    """What each figure of the paper came to."""

    def about(*words: str) -> list[Check]:
        return [check for check in checks if all(word in check.claim for word in words)]

    def text(found: Sequence[Check]) -> str:
        return "; ".join(f"{check.claim}: {check.ours}" for check in found)

    gd = size.ways["gd"]
    missing = "" if gd.images is None else f"GD on the first {gd.images:,} images, {gd.steps} steps"
    short = "" if size == SIZES["full"] else "the first epochs only"
    magnitudes, kappas = about("initialisation", "λ_max"), about("median")
    others = [check for check in kappas if not check.claim.startswith(("GD", "init"))]
    first = [check for check in kappas if check not in others]
    return {
        "Figure 3": row_of(magnitudes, text(magnitudes), missing=missing),
        "Figure 5": row_of(first, text(first), missing=missing),
        "Figures A5-A7": row_of(others, text(others), missing=short),
        "Figure A13": row_of(about("neurons"), text(about("neurons")[:2]), missing=missing),
    }


def remarks(best: Mapping[tuple[str, str], tuple[float, Run]], found: Found, size: Size) -> str:
    """How far each training came, and its condition numbers there."""
    lines = [
        [
            f"{size.ways[way].title}, {NETWORKS[network][0]}",
            f"{rate:g}",
            f"{done.late:.3g}",
            *(f"{hidden(end(found[way, network])[name]):.2g}" for name in KAPPAS),
        ]
        for (way, network), (rate, done) in best.items()
    ]
    header = ("training", "best rate", "loss", *(f"median {TITLES[name]}" for name in KAPPAS))
    return f"At the end of the trainings:\n\n{table(header, lines)}\n{REMARKS}"


def settings(size: Size) -> dict[str, str]:
    """How much was run."""
    return {"trainings": "; ".join(map(setting, size.ways.values()))}


def setting(way: Way) -> str:
    """One way, in words."""
    rates = ", ".join(f"{rate:g}" for rate in way.rates)
    images = "all images" if way.images is None else f"the first {way.images:,} images"
    batch = "" if way.batch is None else f" in batches of {way.batch:,}"
    return f"{way.title}, {way.steps:,} steps, {images}{batch}, the best rate of {rates}"


def draw(
    best: Mapping[tuple[str, str], tuple[float, Run]], found: Found, size: Size, setup: Setup
) -> tuple[str, ...]:
    """The loss by step, and three figures by layer."""
    first = next(iter(size.ways))
    columns = {
        "initialisation": {title: found[first, key][0] for key, (title, _) in NETWORKS.items()}
    }
    for way, each in size.ways.items():
        ends = {title: end(found[way, key]) for key, (title, _) in NETWORKS.items()}
        columns[f"{each.title}, step {each.steps - 1}"] = ends
    grids = {
        "mlp20_magnitude.png": ("lambda_max_input", "lambda_max_grad"),
        "mlp20_conditioning.png": ("kappa_input", "kappa_grad"),
        "mlp20_neurons.png": ("dying_share", "full_share"),
    }
    for name, quantities in grids.items():
        draw_by_depth(name, {each: TITLES[each] for each in quantities}, columns, setup)
    losses = {
        each.title: {title: best[way, key][1].log.losses for key, (title, _) in NETWORKS.items()}
        for way, each in size.ways.items()
    }
    return (draw_losses("mlp20_loss.png", losses, setup), *grids)

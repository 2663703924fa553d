"""Beyond the paper: LayerNorm, GroupNorm, InstanceNorm and RMSNorm beside BN and none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.document import table
from experiments import networks as built
from experiments.by_layer import ENDS, Found, deep, factor, hidden, late, law, measured
from experiments.depth_figure import FLOOR, MEAN_SHARE, PANELS, draw_by_depth, draw_losses
from experiments.norms_checks import NAMES, cnn_checks, mlp_checks, summary
from experiments.recipe import NORMALIZE, Recipe
from experiments.setup import Outcome, Row, Setup
from experiments.training import train

TITLE = "Beyond: other normalisations, on a 20-layer MLP and on ResNet-20"
CLAIM = """The paper leaves other normalisations than BN to future work. **What theory lets
expect**: whatever is normalised after a linear map, Theorem 4.2 holds, and λ_max(Σ_x) and
λ_max(Σ_∇h) keep their level over depth. But LayerNorm, RMSNorm and GroupNorm normalise within an
example, so that what is common to all examples stays in: in an MLP they become alike with depth
(the correlation of any two goes to 1), ‖E x‖² is then nearly all of tr Σ_x, κ(Σ_x) grows, and
neurons are off or on for all examples. BN takes the common part out: behind a ReLU ‖E x‖² stays
near 1/π of tr Σ_x; but its gradients grow towards the input, by π/(π − 1) = 1.47 in tr Σ_∇h a layer
(Yang et al. 2019, arXiv 1902.08129, from the same mean-field theory). InstanceNorm centres each map
over the places of an image, hence also over the batch: it should be like BN. There is none for an
MLP, where a neuron of one example is one number."""
ROWS = {"Future work: other normalisations": "LN, GN, IN, RMSNorm beside BN: MLP and ResNet-20"}
ROWS_NOT_RUN = "`--scale cpu` takes half an hour on a processor"
REMARKS = f"""`condcli scale-law` multiplies a weight and leaves the bias: BN takes a bias out, the
others do not, and so Theorem 4.2 holds for them only as far as biases are small; ResNet's
convolutions have none. In a ResNet the shortcuts add up, and λ_max(Σ_x) grows within a stage
whatever the normalisation. A network that has diverged has no line. {FLOOR}"""
NETWORKS = {
    "mlp": ("none", "bn", "ln", "rms", "gn"),
    "resnet": ("none", "bn", "ln", "rms", "gn", "in"),
}
TITLES = {"mlp": "MLP", "resnet": "ResNet"}
SHOWN = (
    *("lambda_max_input", "lambda_max_grad", "kappa_input", "kappa_grad"),
    *("mean_share", "stuck_share"),
)
QUANTITIES = {name: PANELS[name] for name in SHOWN}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the two networks and its training, and the layers that Theorem 4.2 is put to."""

    arch_args: Mapping[str, Any]
    scaled: tuple[str, ...]
    steps: int
    data: str = "digits"
    images: int | None = None
    batch: int = 128
    options: Mapping[str, Any] = field(default_factory=dict)  # of the Recipe


Size = Mapping[str, Part]  # by the names of NETWORKS
MLP = {"depth": 20, "width": 256}
# The paper's set-up for CIFAR-10.
CIFAR: Mapping[str, Any] = {"momentum": 0.9, "weight_decay": 1e-4, "augment": True}
BLOCKS = ("stage1.1.conv1", "stage2.1.conv1", "stage3.1.conv1")
HIDDEN = ("fc4", "fc10", "fc16")


def mnist(steps: int, images: int | None) -> Part:
    """The MLP at the paper's size."""
    return Part(arch_args=MLP, scaled=HIDDEN, steps=steps, data="mnist", images=images, batch=1024)


def cifar(steps: int, batch: int) -> Part:
    """A network of 20 layers on CIFAR-10."""
    return Part(
        arch_args={"depth": 20},
        scaled=BLOCKS,
        steps=steps,
        data="cifar10",
        batch=batch,
        options=CIFAR,
    )


SIZES: dict[str, Size] = {
    "smoke": {
        "mlp": Part(
            arch_args={"inputs": 64, "depth": 5, "width": 16}, scaled=("fc2",), steps=3, images=256
        ),
        "resnet": Part(
            arch_args={"depth": 8, "channels": 1, "width": 4},
            scaled=("stage1.0.conv1",),
            steps=2,
            images=256,
            batch=32,
        ),
    },
    "cpu": {"mlp": mnist(300, 20_000), "resnet": cifar(130, 128)},
    "full": {"mlp": mnist(4700, None), "resnet": cifar(15_640, 128)},
}


def recipes(size: Size) -> dict[str, Recipe]:
    """Every network with every normalisation, all trained alike."""
    return {
        named(network, norm, 0.1, size[network]): recipe(network, norm, 0.1, size[network])
        for network, norms in NETWORKS.items()
        for norm in norms
    }


def named(arch: str, norm: str, rate: float, part: Part) -> str:
    """What a training is called, in each experiment that has it."""
    return f"{arch}{part.arch_args['depth']}-{norm}-{rate:g}"


def recipe(arch: str, norm: str, rate: float, part: Part) -> Recipe:
    """One training; recorded at its first and last step, with checkpoints before and after."""
    return Recipe(
        arch=arch,
        arch_args={**part.arch_args, "norm": norm},
        data=part.data,
        images=part.images,
        rate=rate,
        batch=part.batch,
        steps=part.steps,
        record=(0, part.steps - 1),
        checkpoints=(0, part.steps),
        **part.options,
    )


def run(size: Size, setup: Setup) -> Outcome:
    """Train all, read the records, scale weights, draw, and look for what theory lets expect."""
    found = {}
    for network, norms in NETWORKS.items():
        part = size[network]
        for norm in norms:
            name = named(network, norm, 0.1, part)
            done = train(name, recipe(network, norm, 0.1, part), setup)
            found[network, norm] = measured(done, part.scaled, setup)
            print(f"  {name}: {done.log.seconds:.0f} s", flush=True)
    parts = {
        network: {norm: found[network, norm] for norm in norms}
        for network, norms in NETWORKS.items()
    }
    for norm, each in parts["mlp"].items():
        each["laws"]["unbiased"] = unbiased(norm, size["mlp"], setup)
    checks = (*mlp_checks(parts["mlp"]), *cnn_checks(parts["resnet"]))
    return Outcome(
        checks=checks,
        rows={next(iter(ROWS)): Row(status="beyond the paper", text=summary(parts))},
        numbers=parts,
        figures=draw(parts, size, setup),
        remarks="\n".join([*(tabulated(TITLES[n], part) for n, part in parts.items()), REMARKS]),
        settings={
            TITLES[name]: f"{part.steps} steps of {part.batch} images"
            for name, part in size.items()
        },
    )


def unbiased(norm: str, part: Part, setup: Setup) -> dict[str, Any]:
    """What `law` finds of the untrained MLP, had its linear layers no biases."""
    described = recipe("mlp", norm, 0.1, part)
    model = built.network(replace(described, arch_args={**described.arch_args, "init": "he"}))
    return law(model, part.scaled, setup, data=part.data, normalize=NORMALIZE[part.data])


def tabulated(title: str, networks: Mapping[str, Found]) -> str:
    """The questions' answers, a row for each normalisation."""
    header = (
        f"{title}: norm",
        "when",
        "λ_max(Σ_∇h) a layer",
        "κ_50%(Σ_x)",
        "κ_50%(Σ_∇h)",
        MEAN_SHARE,
        "dying + full",
        "nearest theorem, off by",
        "loss",
    )
    return table(header, [line(norm, networks[norm], end) for norm in networks for end in ENDS])


def line(norm: str, found: Found, end: str) -> list[str]:
    """At one end of the training: medians of the hidden layers, means of the last quarter."""
    depths, laws = found[end], found["laws"].get(end, {}).values()
    return [
        NAMES[norm],
        ENDS[end],
        f"× {factor(depths['lambda_max_grad']):.2f}",
        f"{hidden(depths['kappa_input']):.3g}",
        f"{hidden(depths['kappa_grad']):.3g}",
        f"{deep(depths['mean_share']):.2f}",
        f"{deep(depths['stuck_share']):.1%}",
        "; ".join(f"{row['law']}, {row['off']:.2g}" for row in laws) or "–",
        f"{late(found):.3g}" if end == "last" else f"{found['loss'][0]:.3g}",
    ]


def draw(parts: Mapping[str, Mapping[str, Found]], size: Size, setup: Setup) -> tuple[str, ...]:
    """The losses, and for each network the quantities by layer."""
    losses = {
        f"{TITLES[network]}, {size[network].data}": {
            NAMES[norm]: found["loss"] for norm, found in networks.items()
        }
        for network, networks in parts.items()
    }
    figures = [draw_losses("norms_loss.png", losses, setup)]
    for network, networks in parts.items():
        titles = {"first": "at initialisation", "last": f"step {size[network].steps - 1}"}
        columns = {
            f"{TITLES[network]}, {title}": {
                NAMES[norm]: found[end] for norm, found in networks.items()
            }
            for end, title in titles.items()
        }
        figures.append(draw_by_depth(f"norms_{network}.png", QUANTITIES, columns, setup))
    return tuple(figures)

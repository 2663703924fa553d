"""Figures 1 and A1-A4: the spectrum of the full FIM beside those of the sub-FIMs, over training."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from scipy.stats import spearmanr

import condcli
from benchmarks.document import table
from experiments.drawing import figure, save, shade
from experiments.recipe import Recipe
from experiments.setup import Check, Outcome, Row, Setup, row_of
from experiments.training import Run, train

TITLE = "The full Fisher matrix beside the sub-FIMs (Figures 1 and A1-A4)"
CLAIM = """**The paper** (section 3): over the training of MLPs so small that the whole Fisher
matrix F can be had (8 layers of 24 neurons; also 4 of 24 and 4 of 36), the maximum eigenvalue and
the condition number of the sub-FIMs Σ_x ⊗ Σ_∇h tell what those of F tell: the plain network has a
vanishing λ_max and is conditioned worse than the one with BN. And they tell in which layers. The
same is seen of the second moment M of the sample gradients, whole and by layer."""
ROWS = {
    "Figure 1": "8-layer MLP, 24 neurons, MNIST: λ_max and κ_p of the full FIM and of the sub-FIMs",
    "Figures A1-A4": "also 4 × 24 and 4 × 36, and the second moment of the sample gradients",
}
ROWS_NOT_RUN = "`--scale cpu` takes half an hour on a processor"
NORMS = {"none": "Plain", "bn": "BN"}
KAPPAS = ("κ_p of F", "κ_p of the sub-FIMs together")
REMARKS = """How well the assumptions behind Σ_x ⊗ Σ_∇h hold (FIM): the relative Frobenius error of
the sub-FIMs, and the share of ‖F‖_F² that lies in blocks between two layers. λ_max agrees although
neither is small. κ_p does at initialisation; as a network fits its images, fewer and fewer of them
have a gradient left, and κ_p of a matrix of so few images grows without bound, while that of
products of two averages does not. The fall by depth is counted from the second layer, as the first
one's Σ_x is that of the images."""
MATRICES = {"fim": "FIM", "sample-gradients": "sample gradients"}


@dataclass(frozen=True)
class Size:
    """The MLPs (depth, width), their training, and how their curvature is measured."""

    networks: Sequence[tuple[int, int]]
    steps: int
    rates: Sequence[float]
    checkpoints: Sequence[int]  # steps
    samples: Mapping[str, int]  # examples of each of the MATRICES
    data: str = "mnist"
    inputs: int = 784
    batch: int = 1024
    percent: float = 2.5  # κ_p: F has few eigenvalues other than zero


SIZES = {
    "smoke": Size(
        [(4, 8)], 4, (0.1, 0.3), (0, 4), {"fim": 16, "sample-gradients": 40}, "digits", 64, 128
    ),
    "cpu": Size(
        [(8, 24), (4, 24), (4, 36)],
        1000,
        (0.1, 0.3, 1.0),
        (0, 10, 100, 1000),
        {"fim": 128, "sample-gradients": 800},
    ),
    "full": Size(
        [(8, 24), (4, 24), (4, 36)],
        10_000,
        (0.01, 0.03, 0.1, 0.3, 1.0),
        (0, 10, 30, 100, 300, 1000, 3000, 10_000),
        {"fim": 500, "sample-gradients": 4000},
    ),
}


def recipes(size: Size) -> dict[str, Recipe]:
    """Every network, Plain and with BN, at every rate."""
    return {
        f"fim-{depth}x{width}-{norm}-{rate:g}": recipe(depth, width, norm, rate, size)
        for depth, width in size.networks
        for norm in NORMS
        for rate in size.rates
    }


def recipe(depth: int, width: int, norm: str, rate: float, size: Size) -> Recipe:
    """SGD on mini-batches of all images."""
    return Recipe(
        arch="mlp",
        arch_args={"inputs": size.inputs, "depth": depth, "width": width, "norm": norm},
        data=size.data,
        rate=rate,
        batch=size.batch,
        steps=size.steps,
        checkpoints=tuple(size.checkpoints),
    )


@dataclass(frozen=True)
class Spectra:
    """λ_max and κ_p of one matrix at one checkpoint: exact, and by Σ_x ⊗ Σ_∇h."""

    lambda_max: float  # of the whole
    kappa: float  # of the whole; where it is under the noise floor, the bound
    kappa_together: float  # of all layers' Σ_x ⊗ Σ_∇h together
    block_lambda_max: Sequence[float]  # of the layers' exact blocks
    block_kappa: Sequence[float]
    sub_lambda_max: Sequence[float]  # of the layers' Σ_x ⊗ Σ_∇h
    sub_kappa: Sequence[float]
    between: float  # share of ‖F‖_F² in blocks between two layers
    errors: Sequence[float]  # ‖F_k − Σ_x ⊗ Σ_∇h‖_F / ‖F_k‖_F

    @property
    def largest(self) -> float:
        """λ_max of all layers' Σ_x ⊗ Σ_∇h together."""
        return max(self.sub_lambda_max)


def spectra(checkpoint: Path, matrix: str, size: Size, root: Path) -> Spectra:
    """As `measured`; what was measured once is kept beside the checkpoint."""
    place = checkpoint.with_suffix(f".{matrix}-{size.samples[matrix]}-{size.percent:g}.json")
    if not place.exists():
        place.write_text(json.dumps(asdict(measured(checkpoint, matrix, size, root))))
    return Spectra(**json.loads(place.read_text()))


def measured(checkpoint: Path, matrix: str, size: Size, root: Path) -> Spectra:
    """By `condcli.exact`, of images of the training split in one batch."""
    samples = size.samples[matrix]
    found = condcli.exact(
        checkpoint,
        matrix=matrix,
        root=root,
        samples=samples,
        batch_size=samples,
        percent=[size.percent],
    )
    *layers, whole = found.rows
    key = f"{size.percent:g}"
    return Spectra(
        lambda_max=whole.lambda_max,
        kappa=least(whole.kappa[key]),
        kappa_together=least(whole.kappa_kronecker[key]),
        block_lambda_max=[row.lambda_max for row in layers],
        block_kappa=[least(row.kappa[key]) for row in layers],
        sub_lambda_max=[row.lambda_max_kronecker for row in layers],
        sub_kappa=[least(row.kappa_kronecker[key]) for row in layers],
        between=found.off_diagonal_share or 0.0,
        errors=[math.nan if row.error is None else row.error for row in layers],
    )


def least(kappa: Any) -> float:
    """A condition number, or its bound; NaN where it is not defined."""
    return math.nan if kappa.least is None else float(kappa.least)


Found = Mapping[str, Mapping[str, Mapping[int, Spectra]]]  # by matrix, network and norm, then step


def run(size: Size, setup: Setup) -> Outcome:
    """Train all, take the best rate of each, measure its checkpoints, draw, and compare."""
    best = {
        f"{depth}x{width}-{norm}": best_of(depth, width, norm, size, setup)
        for depth, width in size.networks
        for norm in NORMS
    }
    found: dict[str, dict[str, dict[int, Spectra]]] = {}
    for matrix in MATRICES:
        found[matrix] = {}
        for name, (_, done) in best.items():
            found[matrix][name] = {
                step: spectra(path, matrix, size, setup.root)
                for step, path in zip(size.checkpoints, done.checkpoints, strict=True)
            }
            print(f"  {matrix} of {name}: measured", flush=True)
    checks = tuple(effects(found, size))
    return Outcome(
        checks=checks,
        rows=rows(checks, size),
        numbers={
            name: {
                "rate": rate,
                "loss": {
                    step: done.log.losses[min(step, size.steps - 1)] for step in size.checkpoints
                },
                **{
                    matrix: {step: asdict(each) for step, each in found[matrix][name].items()}
                    for matrix in MATRICES
                },
            }
            for name, (rate, done) in best.items()
        },
        figures=tuple(draw(depth, width, found, size, setup) for depth, width in size.networks),
        remarks=remarks(found, size),
        settings={
            "training": f"SGD, {size.steps:,} steps of {size.batch:,}, the best rate of "
            + ", ".join(f"{rate:g}" for rate in size.rates),
            "curvature": ", ".join(
                f"{MATRICES[matrix]} of {count:,} images" for matrix, count in size.samples.items()
            ),
            "p": f"{size.percent:g} %",
        },
    )


def best_of(depth: int, width: int, norm: str, size: Size, setup: Setup) -> tuple[float, Run]:
    """The rate with the least loss over the last tenth of the steps, and its training."""
    done = {}
    for rate in size.rates:
        name = f"fim-{depth}x{width}-{norm}-{rate:g}"
        done[rate] = train(name, recipe(depth, width, norm, rate, size), setup)
        print(f"  {name}: {done[rate].late:.4f}, {done[rate].log.seconds:.0f} s", flush=True)
    rate = min(done, key=lambda rate: done[rate].late)
    return rate, done[rate]


def effects(found: Found, size: Size) -> Iterator[Check]:
    """For each matrix and network: what the full and the layer-wise spectra tell."""
    for matrix, title in MATRICES.items():
        for depth, width in size.networks:
            plain, bn = (found[matrix][f"{depth}x{width}-{norm}"] for norm in NORMS)
            yield from compared(f"{depth} × {width}, {title}", plain, bn)


def compared(
    title: str, plain: Mapping[int, Spectra], bn: Mapping[int, Spectra]
) -> Iterator[Check]:
    """Plain and BN, at initialisation and over the training."""
    both = [*plain.values(), *bn.values()]
    ratios = [each.largest / each.lambda_max for each in both]
    yield Check(
        claim=f"{title}: largest λ_max of a sub-FIM over λ_max of the full matrix, all checkpoints",
        paper="alike",
        ours=f"{min(ratios):.2g} to {max(ratios):.2g}",
        holds=min(ratios) >= 0.1 and max(ratios) <= 10,
    )
    for name, whole, subs in (
        ("λ_max", "lambda_max", "largest"),
        ("κ_p", "kappa", "kappa_together"),
    ):
        found = spearmanr([getattr(e, whole) for e in both], [getattr(e, subs) for e in both])
        alike = float(found.statistic)
        yield Check(
            claim=f"{title}: {name} of the sub-FIMs together follows that of the full matrix, "
            "rank correlation over checkpoints and networks",
            paper="the same story",
            ours=f"{alike:.2f}",
            holds=alike > 0.5,
        )
    yield from at_start(f"{title}, initialisation", plain[0], bn[0])


def at_start(title: str, plain: Spectra, bn: Spectra) -> Iterator[Check]:
    """Where the plain network's gradients vanish, and how it is conditioned."""
    yield Check(
        claim=f"{title}: λ_max of the full matrix, Plain | BN",
        paper="vanishing | not",
        ours=f"{plain.lambda_max:.2g} | {bn.lambda_max:.2g}",
        holds=plain.lambda_max < bn.lambda_max / 10,
    )
    falls = [math.log10(each.sub_lambda_max[-1] / each.sub_lambda_max[1]) for each in (plain, bn)]
    yield Check(
        claim=f"{title}: decades from λ_max of the last sub-FIM down to the second's, Plain | BN",
        paper="vanishes in the lower layers | does not",
        ours=f"{falls[0]:.1f} | {falls[1]:.1f}",
        holds=falls[0] > max(0.0, falls[1]),
    )
    yield Check(
        claim=f"{title}: κ_p of the full matrix, Plain | BN",
        paper="larger | smaller",
        ours=f"{plain.kappa:.2g} | {bn.kappa:.2g}",
        holds=plain.kappa > bn.kappa,
    )
    subs = [median(each.sub_kappa) for each in (plain, bn)]
    yield Check(
        claim=f"{title}: median κ_p of the sub-FIMs, Plain | BN",
        paper="larger | smaller",
        ours=f"{subs[0]:.2g} | {subs[1]:.2g}",
        holds=subs[0] > subs[1],
    )


def rows(checks: Sequence[Check], size: Size) -> dict[str, Row]:
    """What each figure of the paper came to."""
    depth, width = size.networks[0]
    first = [check for check in checks if check.claim.startswith(f"{depth} × {width}, FIM")]
    others = [check for check in checks if check not in first]
    start = [check for check in first if "initialisation" in check.claim]
    text = "; ".join(f"{check.claim.partition('FIM, ')[2]}: {check.ours}" for check in start)
    return {
        "Figure 1": row_of(first, text),
        "Figures A1-A4": row_of(others, "the same of all of them"),
    }


def remarks(found: Found, size: Size) -> str:
    """How well the two assumptions hold, at the first and the last checkpoint."""
    lines = []
    for name, steps in found["fim"].items():
        for step in (size.checkpoints[0], size.checkpoints[-1]):
            each = steps[step]
            network, _, norm = name.partition("-")
            lines.append(
                [
                    f"{network.replace('x', ' × ')}, {NORMS[norm]}, step {step}",
                    f"{median(each.errors):.0%}",
                    f"{max(each.errors):.0%}",
                    f"{each.between:.0%}",
                    f"{each.kappa:.2g}",
                    f"{each.kappa_together:.2g}",
                ]
            )
    header = ("network", "error of the sub-FIMs, median", "largest", "between layers", *KAPPAS)
    return REMARKS + "\n\n" + table(header, lines)


def draw(depth: int, width: int, found: Found, size: Size, setup: Setup) -> str:
    """λ_max and κ_p over steps: the full matrix, and each layer's sub-FIM."""
    name = f"full_fim_{depth}x{width}.png"
    columns = [(matrix, norm) for matrix in MATRICES for norm in NORMS]
    drawn, axes = figure(2, len(columns), height=2.2, sharex=True, sharey="row")
    for place, (matrix, norm) in enumerate(columns):
        steps = found[matrix][f"{depth}x{width}-{norm}"]
        draw_curves(axes[0][place], steps, "lambda_max", "sub_lambda_max")
        draw_curves(axes[1][place], steps, "kappa", "sub_kappa")
        axes[0][place].set_title(f"{NORMS[norm]}, {MATRICES[matrix]}", fontsize=8)
        axes[1][place].set_xlabel("step")
    axes[0][0].set_ylabel("λ_max")
    axes[1][0].set_ylabel(f"κ_{size.percent:g}%")
    drawn.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", fontsize=6)
    save(drawn, setup.figures / name)
    return name


def draw_curves(panel: Any, steps: Mapping[int, Spectra], whole: str, subs: str) -> None:
    """One quantity: the full matrix in black, the layers from dark (first) to light (last)."""
    layers = list(zip(*(getattr(each, subs) for each in steps.values()), strict=True))
    for number, values in enumerate(layers):
        style = {"color": shade(number, len(layers)), "marker": ".", "ms": 3, "lw": 0.8}
        panel.plot(list(steps), values, label=f"layer {number + 1}", **style)
    values = [getattr(each, whole) for each in steps.values()]
    panel.plot(list(steps), values, color="black", ls="--", marker="s", ms=2.5, label="full matrix")
    panel.set_yscale("log")
    panel.set_xscale("symlog", linthresh=10)

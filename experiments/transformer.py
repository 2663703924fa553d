"""Beyond the paper: a small transformer, pre-LN against post-LN, with and without warm-up."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from statistics import median
from typing import Any

import condcli
from benchmarks.document import table
from experiments.by_depth import PERCENT
from experiments.by_layer import ENDS, Found, late, mean_share
from experiments.depth_figure import FLOOR, MEAN_SHARE, draw_by_depth, draw_losses
from experiments.recipe import Recipe
from experiments.setup import Check, Outcome, Row, Setup
from experiments.training import Run, train

TITLE = "Beyond: a transformer, pre-LN against post-LN"
CLAIM = """The paper's analysis, put to a causal language model on bytes. **What theory lets
expect** (Xiong et al. 2020, arXiv 2002.04745): at initialisation, post-LN's gradients of the upper
feed-forward layers are of an order that does not fall with the number L of blocks, pre-LN's are
smaller by √L; post-LN's fall from the output to the input, pre-LN's are about level; so post-LN
needs a warm-up of the learning rate and pre-LN does not. And since attention begins as an average
over the tokens before, what is common to all tokens is more of the input of the output projection
than of that of the values, which is worse conditioned for it."""
ROWS = {"Future work: transformers": "pre-LN against post-LN: gradients and conditioning by block"}
ROWS_NOT_RUN = "`--scale cpu` takes half an hour on a processor"
PARTS = {
    "self_attn.q_proj": "q",
    "self_attn.k_proj": "k",
    "self_attn.v_proj": "v",
    "self_attn.out_proj": "out",
    "linear1": "ffn 1",
    "linear2": "ffn 2",
}
NAMES = {
    "pre": "pre-LN",
    "pre-warmup": "pre-LN, warm-up",
    "post": "post-LN",
    "post-warmup": "post-LN, warm-up",
}


@dataclass(frozen=True)
class Size:
    """The network and its training by Adam."""

    depth: int
    steps: int
    warmup: int
    batch: int = 16
    width: int = 64
    rate: float = 0.003
    arch_args: Mapping[str, Any] = field(default_factory=dict)


SIZES = {
    "smoke": Size(2, 6, 3, batch=4, width=16),
    "cpu": Size(6, 200, 60, batch=8),
    "full": Size(6, 10_000, 1000, batch=128, width=256, rate=0.001),
}


def recipes(size: Size) -> dict[str, Recipe]:
    """Both places of the norm, with and without warm-up."""
    return {f"transformer-{name}": recipe(name, size) for name in NAMES}


def recipe(name: str, size: Size) -> Recipe:
    """One training; recorded at its first and last step, with checkpoints before and after."""
    norm, _, warmup = name.partition("-")
    return Recipe(
        arch="transformer",
        arch_args={"depth": size.depth, "width": size.width, "norm": norm},
        data="experiments.texts:sources",
        optimizer="adam",
        rate=size.rate,
        warmup=size.warmup if warmup else 0,
        batch=size.batch,
        steps=size.steps,
        record=(0, size.steps - 1),
        checkpoints=(0, size.steps),
    )


def run(size: Size, setup: Setup) -> Outcome:
    """Train all, read the records by block, draw, and look for what theory lets expect."""
    found = {}
    for name in NAMES:
        done = train(f"transformer-{name}", recipe(name, size), setup)
        found[name] = by_block(done)
        print(f"  {name}: {done.log.seconds:.0f} s", flush=True)
    losses = {"next byte": {NAMES[name]: each["loss"] for name, each in found.items()}}
    columns = {
        title: {NAMES[name]: each[end] for name, each in found.items()}
        for end, title in (("first", "at initialisation"), ("last", f"step {size.steps - 1}"))
    }
    return Outcome(
        checks=effects(found, size),
        rows={next(iter(ROWS)): Row(status="beyond the paper", text=summary(found))},
        numbers=found,
        figures=(
            draw_losses("transformer_loss.png", losses, setup, top=6),
            *(
                draw_by_depth(
                    f"transformer_{key}.png",
                    {f"{key} {part}": f"{label}, {part}" for part in shown},
                    columns,
                    setup,
                    along="block",
                )
                for key, label, shown in FIGURES
            ),
        ),
        remarks=remarks(found),
        settings={
            "blocks": size.depth,
            "width": size.width,
            "text": f"sources of Python {platform.python_version()}'s library",
            "Adam": f"{size.steps} steps of {size.batch} × 128 bytes at {size.rate:g}, warm-up "
            f"{size.warmup}",
        },
    )


FIGURES = (
    ("gradient", "‖∂L/∂W‖", ("v", "out", "ffn 1", "ffn 2")),
    ("kappa", "κ_50%(Σ_x)", ("q", "out", "ffn 1", "ffn 2")),
)


def by_block(done: Run) -> dict[str, Any]:
    """The loss by step; at each end, by part of a block, quantities from block to block."""
    points = condcli.trajectory([done.stats], percent=PERCENT)
    return {"loss": done.log.losses} | {
        end: quantities(point) for end, point in zip(ENDS, points, strict=True)
    }


def quantities(point: Any) -> dict[str, list[float]]:
    """Of one recorded step; the head's as a list of one."""
    moments = condcli.read(point.path).layers
    found: dict[str, list[float]] = {}
    for name, layer in point.layers.items():
        part = next((short for full, short in PARTS.items() if name.endswith(f".{full}")), name)
        for key, value in (
            ("gradient", layer.weight_grad_norm),
            ("kappa", layer.kappa_input.least),
            ("kappa_grad", layer.kappa_grad.least),
            ("lambda_max_input", layer.lambda_max_input),
            ("lambda_max_grad", layer.lambda_max_grad),
            ("ratio", layer.ratio),
            ("mean_share", mean_share(moments[name])),
        ):
            found.setdefault(f"{key} {part}", []).append(value)
    return found


def effects(found: Mapping[str, Found], size: Size) -> tuple[Check, ...]:
    """What theory lets expect."""
    pre, post = found["pre"]["first"], found["post"]["first"]
    top = [depths["gradient ffn 2"][-1] for depths in (pre, post)]
    slopes = [depths["gradient ffn 2"][-1] / depths["gradient ffn 2"][0] for depths in (pre, post)]
    losses = {name: late(each) for name, each in found.items()}
    shares = [median(depths[f"mean_share {part}"]) for part in ("v", "out") for depths in (pre,)]
    kappas = [median(pre[f"kappa {part}"]) for part in ("v", "out")]
    return (
        Check(
            claim="initialisation: ‖∂L/∂W‖ of the last block's ffn 2, pre-LN | post-LN",
            paper=f"post-LN: larger, by √L = {sqrt(size.depth):.1f} in order",
            ours=f"{top[0]:.3g} | {top[1]:.3g}, {top[1] / top[0]:.1f} times",
            holds=sqrt(size.depth) / 2 < top[1] / top[0] < 2 * sqrt(size.depth),
        ),
        Check(
            claim="initialisation: ‖∂L/∂W‖ of ffn 2, last block over first, pre-LN | post-LN",
            paper="about 1 (0.5 to 2) | larger",
            ours=f"{slopes[0]:.2f} | {slopes[1]:.2f}",
            holds=0.5 < slopes[0] < 2 and slopes[1] > slopes[0],
        ),
        Check(
            claim="end: loss of post-LN without warm-up | with",
            paper="warm-up is needed",
            ours=f"{losses['post']:.3f} | {losses['post-warmup']:.3f}",
            holds=losses["post"] > losses["post-warmup"] + 0.05,
        ),
        Check(
            claim="end: loss of pre-LN without warm-up | with",
            paper="the same within 0.1",
            ours=f"{losses['pre']:.3f} | {losses['pre-warmup']:.3f}",
            holds=abs(losses["pre"] - losses["pre-warmup"]) < 0.1,
        ),
        Check(
            claim="end: loss without warm-up of pre-LN | post-LN",
            paper="pre-LN: less",
            ours=f"{losses['pre']:.3f} | {losses['post']:.3f}",
            holds=losses["pre"] < losses["post"],
        ),
        Check(
            claim=f"initialisation, pre-LN: median {MEAN_SHARE} of the input of v | of out",
            paper="out: more",
            ours=f"{shares[0]:.2f} | {shares[1]:.2f}",
            holds=shares[1] > shares[0],
        ),
        Check(
            claim="initialisation, pre-LN: median κ_50%(Σ_x) of the input of v | of out",
            paper="out: more",
            ours=f"{kappas[0]:.3g} | {kappas[1]:.3g}",
            holds=kappas[1] > kappas[0],
        ),
    )


def remarks(found: Mapping[str, Found]) -> str:
    """Medians over the blocks, of every kind of layer; and what was not expected."""
    columns = [("pre", "first"), ("post", "first"), *((name, "last") for name in NAMES)]
    header = ("κ_50%(Σ_x) / κ_50%(Σ_∇h)", *(f"{NAMES[n]}, {ENDS[end]}" for n, end in columns))
    lines = [
        [
            part,
            *(
                " / ".join(
                    f"{median(found[name][end][f'{key} {part}']):.3g}"
                    for key in ("kappa", "kappa_grad")
                )
                for name, end in columns
            ),
        ]
        for part in (*PARTS.values(), "head")
    ]
    ends = {name: each["last"]["gradient ffn 2"] for name, each in found.items()}
    ratios = ", ".join(f"{NAMES[name]} {grads[0] / grads[-1]:.2g}" for name, grads in ends.items())
    text = (
        f"Medians over the blocks:\n\n{table(header, lines)}\n{FLOOR} Seen besides: at the end, "
        f"‖∂L/∂W‖ of ffn 2 in the first block over that in the last is: {ratios}."
    )
    if ends["post"][0] < 0.01 * ends["post"][-1]:
        text += (
            " Where post-LN is trained without warm-up, the gradients of the lower blocks are "
            "gone, and all that the upper ones see is nearly one vector: the picture of a plain "
            "MLP that does not train."
        )
    return text


def summary(found: Mapping[str, Found]) -> str:
    """For the overview."""
    return "loss at the end: " + ", ".join(
        f"{NAMES[name]} {late(each):.2f}" for name, each in found.items()
    )

"""``condcli exact MODEL --data DATA``: exact curvature beside its Kronecker approximation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from condcli.analysis.defaults import PERCENTAGES
from condcli.commands import (
    FailOnOption,
    FormatOption,
    Percent,
    SortOption,
    percentages_in,
    show,
)
from condcli.commands.probe_options import (
    Arch,
    ArchArg,
    Checkpoint,
    Data,
    Device,
    Download,
    Exclude,
    FixedBatchSize,
    IgnoreLabel,
    Layers,
    Length,
    Loss,
    Norm,
    Normalize,
    Root,
    Samples,
    Seed,
    Split,
    Target,
    Tokenizer,
    Transform,
    Trust,
    Weights,
    number_or,
)
from condcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from condcli.curvature.api import Estimates, Exact
    from condcli.output.report import Report

EXAMPLES = """
condcli exact model.pt --data digits

condcli exact model.pt --data mnist --matrix sample-gradients --samples 1000 --format json

condcli exact model.pt --data digits --mc-samples 10 --fail-on 'error>0.5'

condcli exact model.pt --data cifar10 --matrix hessian --vectors 10
"""
VECTORS = 30
LEGEND = {
    "∞": "singular: fewer columns (examples × outputs) than this κ asks for",
    ">": "a lower bound: the eigenvalue is under the noise floor, P·eps·λ",
    "–": "undefined: the matrix is zero",
}

Matrix = Annotated[
    Literal["fim", "sample-gradients", "ggn", "hessian"],
    typer.Option(
        help="fim: labels from the network's own prediction; sample-gradients: the true ones; ggn: "
        "Gauss-Newton, for every loss with a name the same as fim; hessian: of the loss, which is "
        "always --matrix-free."
    ),
]
McSamples = Annotated[
    int | None,
    typer.Option(
        "--mc-samples",
        metavar="N",
        min=1,
        help="Draw so many labels for each example of fim, instead of taking all.",
        show_default=False,
    ),
]
MatrixFree = Annotated[
    bool,
    typer.Option(
        "--matrix-free",
        help="Only products with vectors, for networks of any size: λ by Lanczos, trace and norm "
        "from random vectors; without the comparison.",
    ),
]
Vectors = Annotated[
    int | None,
    typer.Option(
        "--vectors",
        metavar="N",
        min=2,
        help="Random vectors of --matrix-free.",
        show_default=f"{VECTORS}",
    ),
]


def exact(
    model: Checkpoint,
    data: Data = None,
    matrix: Matrix = "fim",
    mc_samples: McSamples = None,
    percent: Percent = None,
    matrix_free: MatrixFree = False,
    vectors: Vectors = None,
    arch: Arch = None,
    arch_arg: ArchArg = None,
    weights: Weights = None,
    trust: Trust = False,
    root: Root = Path("data"),
    split: Split = None,
    samples: Samples = "128",
    batch_size: FixedBatchSize = 128,
    seed: Seed = 0,
    normalize: Normalize = None,
    transform: Transform = None,
    target: Target = None,
    tokenizer: Tokenizer = None,
    length: Length = 128,
    download: Download = False,
    norm: Norm = "batch",
    loss: Loss = "auto",
    ignore_label: IgnoreLabel = -100,
    device: Device = "auto",
    layers: Layers = None,
    exclude: Exclude = None,
    sort: SortOption = None,
    form: FormatOption = "table",
    fail_on: FailOnOption = None,
) -> None:
    """Compare the exact curvature of each layer with its approximation Σx⊗Σ∇h.

    The whole matrix over all weights and its blocks, one a layer, in float64, by Gram matrices of
    examples × outputs: for networks and samples that are small enough.
    """
    from condcli.curvature import api
    from condcli.models import load, parse_arch_args
    from condcli.output.progress import examples_progress
    from condcli.output.terminal import is_quiet, notice

    matrix_free |= matrix == "hessian"
    _require_a_use(matrix_free, percent, vectors)
    chosen = PERCENTAGES if percent is None else percentages_in(percent)
    loaded = load(
        model, arch=arch, arch_args=parse_arch_args(arch_arg or []), weights=weights, trust=trust
    )
    options: dict[str, Any] = {
        "matrix": matrix,
        "mc_samples": mc_samples,
        "samples": number_or("--samples", samples, word="all"),
        "batch_size": batch_size,
        "seed": seed,
        "norm": norm,
        "loss": loss,
        "ignore_label": ignore_label,
        "device": device,
        "layers": layers or (),
        "exclude": exclude or (),
        "root": root,
        "split": split,
        "normalize": normalize,
        "transform": transform,
        "target": target,
        "tokenizer": tokenizer,
        "length": length,
        "download": download,
    }
    with examples_progress("measuring", quiet=is_quiet()) as options["progress"]:
        if matrix_free:
            estimates = api.exact_estimates(loaded, data, vectors=vectors or VECTORS, **options)
            report = _of_estimates(estimates, mc_samples, norm)
        else:
            found = api.exact(loaded, data, percent=chosen, **options)
            report = _of_blocks(found, chosen, mc_samples, norm)
    for note in loaded.notes:
        notice(f"note: {note}")
    facts = {"model": f"{model} ({loaded.arch})", **report.facts}
    show(replace(report, file=model, facts=facts), form, sort=sort, fail_on=fail_on)


def _require_a_use(matrix_free: bool, percent: str | None, vectors: int | None) -> None:
    if matrix_free and percent is not None:
        raise UsageError("--matrix-free shows no κ for --percent", "pass one of the two")
    if vectors is not None and not matrix_free:
        raise UsageError("--vectors has no use without --matrix-free", "pass both, or neither")


def _of_blocks(found: Exact, percent: Sequence[float], mc_samples: int | None, norm: str) -> Report:
    from condcli.analysis.exact import ExactRow
    from condcli.analysis.spectrum import key
    from condcli.output.cells import number, text
    from condcli.output.report import Report

    tied = ", examples tied by batch statistics" if found.tied else ""
    return Report(
        command="exact",
        row_type=ExactRow,
        rows=found.rows,
        keys=[key(value) for value in percent],
        facts={
            "data": f"{found.data}, {found.examples} examples, {found.loss_name} "
            f"{number(found.loss)}",
            "matrix": f"{_matrix(found.matrix, mc_samples, norm)}{tied}, {found.columns} columns",
            "F, K": "the exact block of a layer's weights, and T·Σx⊗Σ∇h in its place",
            "between layers": f"{text(found.off_diagonal_share, 'percent')} of the squared norm",
        },
        legend=LEGEND,
    )


def _of_estimates(found: Estimates, mc_samples: int | None, norm: str) -> Report:
    from condcli.analysis.matrix_free import MatrixFreeRow
    from condcli.output.report import Report

    return Report(
        command="exact",
        row_type=MatrixFreeRow,
        rows=found.rows,
        facts={
            "data": f"{found.data}, {found.examples} examples, {found.loss_name}",
            "matrix": f"{_matrix(found.matrix, mc_samples, norm)}, matrix-free",
            "±": f"standard errors over {found.vectors} random vectors; λ by Lanczos",
        },
        legend={"–": "undefined: the matrix is zero"},
    )


def _matrix(matrix: str, mc_samples: int | None, norm: str) -> str:
    """What the matrix is, in words."""
    labels = f", {mc_samples} drawn labels an example" if mc_samples else ""
    return f"{matrix}{labels}, norm {norm}"

"""``condcli exact MODEL --data DATA``: exact curvature beside its Kronecker approximation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    Data,
    Device,
    Download,
    Exclude,
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

if TYPE_CHECKING:
    from condcli.curvature.api import Exact

EXAMPLES = """
condcli exact model.pt --data digits

condcli exact model.pt --data mnist --matrix sample-gradients --samples 1000 --format json

condcli exact model.pt --data digits --mc-samples 10 --fail-on 'error>0.5'
"""
LEGEND = {
    "∞": "singular: fewer columns (examples × outputs) than this κ asks for",
    ">": "a lower bound: the eigenvalue is under the noise floor, P·eps·λ",
    "–": "undefined: the matrix is zero",
}

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="Checkpoint: a file, or the folder of a sharded one.",
        readable=False,
    ),
]
Matrix = Annotated[
    Literal["fim", "sample-gradients", "ggn"],
    typer.Option(
        help="fim: labels from the network's own prediction; sample-gradients: the true ones; ggn: "
        "Gauss-Newton, for every loss with a name the same as fim."
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
BatchSize = Annotated[int, typer.Option(metavar="N", min=1, help="Examples a batch.")]


def exact(
    model: Model,
    data: Data = None,
    matrix: Matrix = "fim",
    mc_samples: McSamples = None,
    percent: Percent = None,
    arch: Arch = None,
    arch_arg: ArchArg = None,
    weights: Weights = None,
    trust: Trust = False,
    root: Root = Path("data"),
    split: Split = None,
    samples: Samples = "128",
    batch_size: BatchSize = 128,
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
    from condcli.analysis.exact import ExactRow
    from condcli.analysis.spectrum import key
    from condcli.curvature.api import exact as measured
    from condcli.models import load, parse_arch_args
    from condcli.output.cells import number, text
    from condcli.output.progress import examples_progress
    from condcli.output.report import Report
    from condcli.output.terminal import is_quiet, notice

    chosen = PERCENTAGES if percent is None else percentages_in(percent)
    loaded = load(
        model, arch=arch, arch_args=parse_arch_args(arch_arg or []), weights=weights, trust=trust
    )
    with examples_progress("measuring", quiet=is_quiet()) as progress:
        found = measured(
            loaded,
            data,
            matrix=matrix,
            mc_samples=mc_samples,
            percent=chosen,
            samples=number_or("--samples", samples, word="all"),
            batch_size=batch_size,
            seed=seed,
            norm=norm,
            loss=loss,
            ignore_label=ignore_label,
            device=device,
            layers=layers or (),
            exclude=exclude or (),
            progress=progress,
            root=root,
            split=split,
            normalize=normalize,
            transform=transform,
            target=target,
            tokenizer=tokenizer,
            length=length,
            download=download,
        )
    for note in loaded.notes:
        notice(f"note: {note}")
    facts = {
        "model": f"{model} ({loaded.arch})",
        "data": f"{found.data}, {found.examples} examples, {found.loss_name} {number(found.loss)}",
        "matrix": _matrix(found, mc_samples, norm),
        "F, K": "the exact block of a layer's weights, and T·Σx⊗Σ∇h in its place",
        "between layers": f"{text(found.off_diagonal_share, 'percent')} of the squared norm",
    }
    report = Report(
        command="exact",
        file=model,
        row_type=ExactRow,
        rows=found.rows,
        keys=[key(value) for value in chosen],
        facts=facts,
        legend=LEGEND,
    )
    show(report, form, sort=sort, fail_on=fail_on)


def _matrix(found: Exact, mc_samples: int | None, norm: str) -> str:
    """What the matrix is, in words."""
    labels = f", {mc_samples} drawn labels an example" if mc_samples else ""
    tied = ", examples tied by batch statistics" if found.tied else ""
    return f"{found.matrix}{labels}, {found.columns} columns, norm {norm}{tied}"

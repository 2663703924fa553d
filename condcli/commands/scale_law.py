"""``condcli scale-law MODEL --data DATA``: Theorems 4.1 and 4.2 on one's own network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from condcli.commands import FailOnOption, FormatOption, SortOption, show
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
    from condcli.curvature.api import ScaleLaw
    from condcli.output.report import Report

EXAMPLES = """
condcli scale-law model.pt --data digits --alpha 2

condcli scale-law model.pt --data digits --layers fc3 --effects

condcli scale-law model.pt --data cifar10 --fail-on 'later_inputs>0.5'
"""

Alpha = Annotated[
    float, typer.Option(metavar="NUMBER", help="What a weight is multiplied by, above 0, not 1.")
]
Effects = Annotated[
    bool,
    typer.Option(
        "--effects", help="Instead, what scaling one layer, named by --layers, does to each."
    ),
]
Scaled = Annotated[
    list[str] | None,
    typer.Option(
        "--layers",
        metavar="GLOB",
        help="Scale only layers with such names; repeatable.",
        show_default=False,
    ),
]


def scale_law(
    model: Checkpoint,
    data: Data = None,
    alpha: Alpha = 2.0,
    effects: Effects = False,
    layers: Scaled = None,
    exclude: Exclude = None,
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
    sort: SortOption = None,
    form: FormatOption = "table",
    fail_on: FailOnOption = None,
) -> None:
    """Scale one layer's weight at a time, and see which layers' inputs and gradients move.

    How well normalised is the network? Exponents: 1 where a quantity goes with α, 0 where it is
    normalised away.
    """
    from condcli.curvature import api
    from condcli.models import load, parse_arch_args
    from condcli.output.progress import examples_progress
    from condcli.output.terminal import is_quiet, notice

    loaded = load(
        model, arch=arch, arch_args=parse_arch_args(arch_arg or []), weights=weights, trust=trust
    )
    with examples_progress("scaling", quiet=is_quiet()) as progress:
        found = api.scale_law(
            loaded,
            data,
            alpha=alpha,
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
    report = _report(found, model, f"{model} ({loaded.arch})", norm, effects=effects)
    show(report, form, sort=sort, fail_on=fail_on)


def _report(found: ScaleLaw, file: Path, name: str, norm: str, *, effects: bool) -> Report:
    from condcli.analysis.scale_law import ScaleEffectRow, ScaleLawRow, effect_rows
    from condcli.output.cells import number
    from condcli.output.report import Report

    facts = {
        "model": name,
        "data": f"{found.data}, {found.examples} examples, {found.loss_name} {number(found.loss)}",
        "scaled": f"a layer's weight times {number(found.alpha)}, norm {norm}",
    }
    legend = {"–": "there is no such layer, or its size is zero"}
    if not effects:
        facts["exponents"] = (
            "of α: 1 1 1 0 without normalisation (Theorem 4.1), 0 0 0 −1 with (4.2)"
        )
        return Report(
            command="scale-law",
            file=file,
            row_type=ScaleLawRow,
            rows=found.rows,
            facts=facts,
            legend=legend,
        )
    if len(found.rows) > 1:
        raise UsageError(
            f"--effects shows one scaled layer, and {len(found.rows)} were",
            f"name one, such as --layers {found.rows[0].layer}",
        )
    (row,) = found.rows
    facts["scaled"] = f"{row.layer} times {number(found.alpha)}, norm {norm}"
    facts["ratios"] = f"of root mean squares, each beside that of Theorem {row.law}"
    return Report(
        command="scale-law",
        file=file,
        row_type=ScaleEffectRow,
        rows=effect_rows(found.effects[row.layer], found.alpha),
        facts=facts,
        legend=legend,
    )

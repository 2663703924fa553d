"""``condcli domination FILE``: which layers stopped learning."""

from __future__ import annotations

from typing import Annotated

import typer

from condcli.analysis.defaults import DOMINATION_THRESHOLD
from condcli.commands import FailOnOption, FormatOption, SortOption, StatsFile, naming, show

EXAMPLES = """
condcli domination stats.h5 --lr 0.1 --sort ratio

condcli domination stats.h5 --threshold 1e-3 --fail-on dominated
"""

Threshold = Annotated[
    float,
    typer.Option(
        metavar="RATIO",
        help="Dominated below this ratio, above 0. At 1e-4 and lr 0.1, a thousand steps in one "
        "direction move σ(W) by under 1 %.",
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        metavar="RATE",
        help="Learning rate, above 0: also show how much one step can move σ(W), relatively.",
        show_default=False,
    ),
]


def domination(
    file: StatsFile,
    threshold: Threshold = DOMINATION_THRESHOLD,
    lr: LearningRate = None,
    sort: SortOption = None,
    form: FormatOption = "table",
    fail_on: FailOnOption = None,
) -> None:
    """Show the layers whose weight dwarfs its gradient: σ_max(∂L/∂W) ≪ σ_max(W).

    L is the mean loss over the probe set, ratio is σ_max(∂L/∂W) / σ_max(W).
    """
    from condcli import statsfile
    from condcli.analysis import domination as analysis
    from condcli.output.report import Report

    stats = statsfile.read(file)
    with naming(file):
        rows = analysis.domination(stats, threshold=threshold, lr=lr)
    reasons = dict.fromkeys(row.note for row in rows if row.note)
    report = Report(
        command="domination",
        file=file,
        row_type=analysis.DominationRow,
        rows=rows,
        provenance=stats.provenance,
        legend={"–": ": ".join(["not measured", *reasons])},
    )
    show(report, form, sort=sort, fail_on=fail_on)

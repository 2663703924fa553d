"""``condcli spectrum FILE``: eigenvalues and condition numbers by depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from condcli.analysis.defaults import PERCENTAGES
from condcli.commands import FailOnOption, FormatOption, SortOption, StatsFile, naming, show
from condcli.errors import UsageError

EXAMPLES = """
condcli spectrum stats.h5 --sort kappa_80

condcli spectrum stats.h5 --layers 'layer4.*' --percent 90,50 --format csv

condcli spectrum stats.h5 --fail-on 'kappa_50>1e6'
"""
_LEGEND = {
    "∞": "singular: the rows and units seen do not allow the rank that this κ asks for",
    ">": "a lower bound: the eigenvalue is under the noise floor, d·eps·λ; "
    "with probe --dtype float64 the floor is lower",
    "–": "undefined: every eigenvalue is zero",
}

Percent = Annotated[
    str | None,
    typer.Option(
        metavar="P,P,…",
        help="κ_p = λ_1 / λ_⌈p·d⌉ for these p in percent, 0 < p ≤ 100.",
        show_default=",".join(f"{p:g}" for p in PERCENTAGES),
    ),
]
Layers = Annotated[
    str | None,
    typer.Option("--layers", metavar="GLOB", help="Only layers so named.", show_default=False),
]
Eigenvalues = Annotated[
    bool, typer.Option("--eigenvalues", help="Instead, every eigenvalue of Σx and Σ∇h.")
]


def spectrum(
    file: StatsFile,
    percent: Percent = None,
    layers: Layers = None,
    eigenvalues: Eigenvalues = False,
    sort: SortOption = None,
    form: FormatOption = "table",
    fail_on: FailOnOption = None,
) -> None:
    """Show λ_max and condition numbers of Σx, Σ∇h and the sub-FIM F = Σx ⊗ Σ∇h, layer by layer.

    λ(F) tells how large a layer's weight gradient is, κ(F) how hard the layer is to optimise.
    """
    from condcli import statsfile
    from condcli.analysis import spectrum as analysis
    from condcli.output.report import Report

    if eigenvalues and percent is not None:
        raise UsageError("--eigenvalues shows no κ for --percent", "pass one of the two")
    percentages = PERCENTAGES if percent is None else _percentages(percent)
    stats = statsfile.read(file)
    row_type: type[Any] = analysis.EigenvalueRow if eigenvalues else analysis.SpectrumRow
    with naming(file):
        rows: Sequence[Any] = (
            analysis.eigenvalues(stats, layers=layers)
            if eigenvalues
            else analysis.spectrum(stats, percent=percentages, layers=layers)
        )
    report = Report(
        command="spectrum",
        file=file,
        row_type=row_type,
        rows=rows,
        keys=[analysis.key(value) for value in percentages],
        provenance=stats.provenance,
        legend=_LEGEND,
    )
    show(report, form, sort=sort, fail_on=fail_on)


def _percentages(text: str) -> Sequence[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--percent {text!r} is no list of numbers", "pass for instance 100,80,50"
        ) from None

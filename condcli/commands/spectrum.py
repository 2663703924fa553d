"""``condcli spectrum FILE``: eigenvalues and condition numbers by depth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from condcli.analysis.defaults import PERCENTAGES
from condcli.commands import (
    FailOnOption,
    FormatOption,
    Percent,
    SortOption,
    StatsFile,
    naming,
    percentages_in,
    show,
    workers,
)
from condcli.errors import UsageError

if TYPE_CHECKING:
    from condcli.analysis.solvers import Solve
    from condcli.stats import ProbeStats

EXAMPLES = """
condcli spectrum stats.h5 --sort kappa_80

condcli spectrum stats.h5 --layers 'layer4.*' --percent 90,50 --format csv

condcli spectrum stats.h5 --fail-on 'kappa_50>1e6'

condcli spectrum stats.h5 --top 1
"""
_LEGEND = {
    "∞": "singular: the rows and units seen do not allow the rank that this κ asks for",
    ">": "a lower bound: the eigenvalue is under the noise floor, d·eps·λ; "
    "with probe --dtype float64 the floor is lower",
    "–": "undefined: every eigenvalue is zero",
}

Layers = Annotated[
    str | None,
    typer.Option("--layers", metavar="GLOB", help="Only layers so named.", show_default=False),
]
Eigenvalues = Annotated[
    bool, typer.Option("--eigenvalues", help="Instead, every eigenvalue of Σx and Σ∇h.")
]

Top = Annotated[
    int | None,
    typer.Option(
        "--top",
        metavar="K",
        min=1,
        help="Only the K largest eigenvalues, without κ: many times as fast for large matrices.",
        show_default=False,
    ),
]
Cache = Annotated[
    bool,
    typer.Option(
        "--cache", help="Keep the eigenvalues in FILE, so that no later command computes them."
    ),
]
Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to compute the eigenvalues.")]


def spectrum(
    file: StatsFile,
    percent: Percent = None,
    layers: Layers = None,
    eigenvalues: Eigenvalues = False,
    top: Top = None,
    cache: Cache = False,
    device: Device = "cpu",
    sort: SortOption = None,
    form: FormatOption = "table",
    fail_on: FailOnOption = None,
) -> None:
    """Show λ_max and condition numbers of Σx, Σ∇h and the sub-FIM F = Σx ⊗ Σ∇h, layer by layer.

    λ(F) tells how large a layer's weight gradient is, κ(F) how hard the layer is to optimise.
    """
    from condcli import statsfile
    from condcli.analysis.spectrum import key
    from condcli.output.report import Report

    if percent is not None and (eigenvalues or top):
        option = "--eigenvalues" if eigenvalues else "--top"
        raise UsageError(f"{option} shows no κ for --percent", "pass one of the two")
    if cache and top:
        raise UsageError("--top computes only some eigenvalues to --cache", "pass one of the two")
    percentages = PERCENTAGES if percent is None else percentages_in(percent)
    options: dict[str, Any] = {
        "layers": layers,
        "solve": _solver(device),
        "workers": workers() if device == "cpu" else 1,
    }
    stats = statsfile.read(file)
    if cache:
        statsfile.check_keepable(file)
        options["keep"] = partial(statsfile.keep_spectra, stats)
    with naming(file):
        row_type, rows = _rows(stats, percentages, eigenvalues, top, options)
    facts = {f"note on {row.layer}": row.note for row in rows if row.note}
    legend = {"–": "there are not so many eigenvalues"} if top else dict(_LEGEND)
    legend["–"] += ", or the layer has a note" if facts else ""
    if any(_error(row) is not None for row in rows):
        legend["–"] += "; of ±: the moment is stored whole"
        facts["±"] = (
            "of what is wider than --max-dim: 0 if its rows were kept, which is exact; else of a "
            "sketch, by which no eigenvalue is further off"
        )
    report = Report(
        command="spectrum",
        file=file,
        row_type=row_type,
        rows=rows,
        keys=[key(value) for value in percentages],
        provenance=stats.provenance,
        facts=facts,
        legend=legend,
    )
    show(report, form, sort=sort, fail_on=fail_on)


def _rows(
    stats: ProbeStats,
    percentages: Sequence[float],
    eigenvalues: bool,
    top: int | None,
    options: dict[str, Any],
) -> tuple[type[Any], Sequence[Any]]:
    """What to show, and the type of its rows."""
    from condcli.analysis import leading, spectrum

    if eigenvalues:
        return spectrum.EigenvalueRow, spectrum.eigenvalues(stats, top=top, **options)
    if top:
        return leading.LeadingRow, leading.leading_eigenvalues(stats, top, **options)
    return spectrum.SpectrumRow, spectrum.spectrum(stats, percent=percentages, **options)


def _error(row: Any) -> float | None:
    """How far an eigenvalue of a row may be off; None where all are of whole moments."""
    names = ("error_input", "error_grad", "error")
    return next((e for name in names if (e := getattr(row, name, None)) is not None), None)


def _solver(device: str) -> Solve:
    import numpy as np

    if device == "cpu":
        return np.linalg.eigvalsh
    import torch

    from condcli.capture.eigensolver import eigenvalues_on

    if not torch.cuda.is_available():
        raise UsageError("there is no cuda device here", "pass --device cpu")
    return partial(eigenvalues_on, torch.device(device))

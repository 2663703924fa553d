"""``condcli compare FILE FILE…``: what changed most from one file to another, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from condcli.commands import FailOnOption, FormatOption, SortOption, naming, show, workers
from condcli.errors import UsageError

if TYPE_CHECKING:
    from condcli.analysis.compare import CompareRow
    from condcli.stats import Provenance

EXAMPLES = """
condcli compare before.h5 after.h5

condcli compare plain.h5 bn.h5 bn_he.h5 --format csv

condcli compare good.h5 bad.h5 --fail-on 'lambda_max_grad<1e-3'
"""
_MEASURES = (
    *("conv", "norm", "fisher", "mc_samples"),
    *("loss_name", "data_source", "normalize", "examples"),
)
_LEGEND = {
    "–": "not known in both: not there, not finite, zero in both, or a κ known only from below",
    "∞": "it was zero",
}

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE",
        help="Statistics files; each is compared with the first.",
        readable=False,
    ),
]


def compare(
    files: Files,
    sort: SortOption = None,
    form: FormatOption = "table",
    fail_on: FailOnOption = None,
) -> None:
    """Show how many times as large λ_max, κ80, σ(∂W)/σ(W) and ‖W‖ of each layer became.

    What changed most comes first. Layers are matched by name, then by order and shape.
    """
    from dataclasses import replace

    from condcli import statsfile
    from condcli.analysis import compare as analysis
    from condcli.output.headline import headline
    from condcli.output.report import Report

    if len(files) < 2:
        raise UsageError("one file cannot be compared", "name two or more")
    several = len(files) > 2
    facts: dict[str, str] = {}
    rows: list[CompareRow] = []
    numbers, provenances = [], []
    for file in files:
        stats = statsfile.read(file)
        provenances.append(stats.provenance)
        with naming(file):
            numbers.append(analysis.numbers_of(stats, workers=workers()))
        facts[f"{'to' if numbers[1:] else 'from'} {file}"] = headline(stats.provenance)
        if file is files[0]:
            continue
        found = analysis.side_by_side(numbers[0], numbers.pop())
        facts |= _unmatched(found, files[0], file) | _unlike(provenances[0], stats.provenance)
        rows += [replace(row, file=str(file)) for row in found]
    report = Report(
        command="compare",
        file=files[0],
        row_type=analysis.CompareOneOf if several else analysis.CompareRow,
        rows=rows,
        facts=facts,
        legend=_LEGEND,
    )
    show(report, form, sort=sort, fail_on=fail_on)


def _unlike(first: Provenance, then: Provenance) -> dict[str, str]:
    """How the two were probed otherwise, where that moves the numbers themselves."""
    return {
        f"not alike: {name}": f"{getattr(first, name)} and {getattr(then, name)}"
        for name in _MEASURES
        if getattr(first, name) != getattr(then, name)
    }


def _unmatched(rows: list[CompareRow], first: Path, then: Path) -> dict[str, str]:
    """What a reader must know of layers that are not in both files by one name."""
    from condcli.output.cells import text

    shaped = tuple(f"{row.layer} = {row.other}" for row in rows if row.match == "shape")
    alone = [row for row in rows if row.match == "alone"]
    found = {
        f"matched with {then} by order and shape": shaped,
        f"only in {first}": tuple(row.layer for row in alone if not row.other),
        f"only in {then}": tuple(row.layer for row in alone if row.other),
    }
    return {title: text(names, "names") for title, names in found.items() if names}

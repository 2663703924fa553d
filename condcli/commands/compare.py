"""``condcli compare FILE FILE…``: what changed most from one file to another, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from condcli.commands import FailOnOption, FormatOption, SortOption, naming, show, workers
from condcli.errors import UsageError

if TYPE_CHECKING:
    from condcli.analysis.compare_neurons import CompareNeuronsRow, NeuronNumbers
    from condcli.stats import Provenance

EXAMPLES = """
condcli compare before.h5 after.h5

condcli compare plain.h5 bn.h5 bn_he.h5 --format csv

condcli compare before.h5 after.h5 --neurons

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
_NEURONS_LEGEND = {"–": "not known, or not defined for the function"}

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE",
        help="Statistics files; each is compared with the first.",
        readable=False,
    ),
]


Neurons = Annotated[
    bool,
    typer.Option("--neurons", help="Instead, dying, full and saturated neurons by activation."),
]


def compare(
    files: Files,
    neurons: Neurons = False,
    sort: SortOption = None,
    form: FormatOption = "table",
    fail_on: FailOnOption = None,
) -> None:
    """Show how many times as large λ_max, κ80, σ(∂W)/σ(W) and ‖W‖ of each layer became.

    What changed most comes first. Layers are matched by name, then by order and shape.
    """
    from dataclasses import replace

    from condcli import statsfile
    from condcli.analysis import compare_neurons
    from condcli.output.headline import headline
    from condcli.output.report import Report

    if len(files) < 2:
        raise UsageError("one file cannot be compared", "name two or more")
    numbers_of, side_by_side, row_types = _of_neurons() if neurons else _of_layers()
    facts: dict[str, str] = {}
    rows: list[Any] = []
    numbers: list[Any] = []
    units: list[Mapping[str, NeuronNumbers]] = []
    provenances = []
    for file in files:
        stats = statsfile.read(file)
        provenances.append(stats.provenance)
        with naming(file):
            numbers.append(numbers_of(stats))
        units.append(compare_neurons.numbers_of(stats))
        facts[f"{'to' if numbers[1:] else 'from'} {file}"] = headline(stats.provenance)
        if file is files[0]:
            continue
        found = side_by_side(numbers[0], numbers.pop())
        facts |= _unmatched(found, files[0], file) | _unlike(provenances[0], stats.provenance)
        if not neurons:
            facts |= _neurons(compare_neurons.side_by_side(units[0], units.pop()), file)
        rows += [replace(row, file=str(file)) for row in found]
    report = Report(
        command="compare",
        file=files[0],
        row_type=row_types[len(files) > 2],
        rows=rows,
        facts=facts,
        legend=_NEURONS_LEGEND if neurons else _LEGEND,
    )
    show(report, form, sort=sort, fail_on=fail_on)


def _of_layers() -> tuple[Callable[..., Any], Callable[..., list[Any]], Sequence[type[Any]]]:
    """What is compared of a file, how, and the rows: of two files, and of several."""
    from condcli.analysis.compare import CompareOneOf, CompareRow, numbers_of, side_by_side

    return partial(numbers_of, workers=workers()), side_by_side, (CompareRow, CompareOneOf)


def _of_neurons() -> tuple[Callable[..., Any], Callable[..., list[Any]], Sequence[type[Any]]]:
    from condcli.analysis.compare_neurons import (
        CompareNeuronsOneOf,
        CompareNeuronsRow,
        numbers_of,
        side_by_side,
    )

    return numbers_of, side_by_side, (CompareNeuronsRow, CompareNeuronsOneOf)


def _neurons(rows: Sequence[CompareNeuronsRow], then: Path) -> dict[str, str]:
    """What changed most of all activations; nothing where none did."""
    from condcli.output.cells import text

    changed = [row for row in rows if row.most]
    if not changed:
        return {}
    row = changed[0]
    before, after = (getattr(row, f"{row.most}_{when}") for when in ("first", "then"))
    others = f", and {len(changed) - 1} more" if changed[1:] else ""
    return {
        f"neurons in {then}": f"{row.activation}: {row.most} {text(before, 'percent')} → "
        f"{text(after, 'percent')}{others}; --neurons shows all"
    }


def _unlike(first: Provenance, then: Provenance) -> dict[str, str]:
    """How the two were probed otherwise, where that moves the numbers themselves."""
    return {
        f"not alike: {name}": f"{getattr(first, name)} and {getattr(then, name)}"
        for name in _MEASURES
        if getattr(first, name) != getattr(then, name)
    }


def _unmatched(rows: list[Any], first: Path, then: Path) -> dict[str, str]:
    """What a reader must know of parts that are not in both files by one name."""
    from condcli.output.cells import text

    def name(row: Any) -> str:
        return str(getattr(row, "layer", None) or row.activation)

    shaped = tuple(f"{name(row)} = {row.other}" for row in rows if row.match == "shape")
    alone = [row for row in rows if row.match == "alone"]
    found = {
        f"matched with {then} by order and shape": shaped,
        f"only in {first}": tuple(name(row) for row in alone if not row.other),
        f"only in {then}": tuple(name(row) for row in alone if row.other),
    }
    return {title: text(names, "names") for title, names in found.items() if names}

"""python run.py DIR [--root ROOT] [--only NAME …]: probes what fetch.py put into DIR.

Each is probed by `condcli probe` in both precisions and measured once more by reference.py, and
what came out is written between the marks of docs/checkpoints.md. ROOT holds MNIST, as for
`condcli probe --root`. With --only, what came out goes to stdout and the page is left alone.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from catalogue import CHECKPOINTS, Checkpoint
from compare import Outcome, compared, probe, reference, scaffold

from condcli import ProbeStats, neurons, spectrum

PAGE = Path(__file__).parent.parent / "checkpoints.md"
BEGIN, END = "<!-- written by run.py: -->\n", "<!-- end -->\n"
HEAD = (
    "|  | file | format | network | layers | λ_max(Σ_x) | λ_max(Σ_∇h) "
    "| off by: float64, float32 |\n"
    "|--:|---|---|---|--:|---|---|---|\n"
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one checkpoint: of a probe in each precision, and of the reference."""

    checkpoint: Checkpoint
    single: Outcome
    double: Outcome | None  # None where the network's own code is in float32
    rounding: float  # how far the reference itself is off when it runs in float32
    scaffold: int  # lines of the file that `inspect --scaffold` writes

    @property
    def stats(self) -> ProbeStats:
        return self.single.stats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    given = parser.parse_args()
    chosen = [each for each in CHECKPOINTS if not given.only or each.name in given.only]
    results = list(run_all(chosen, given.folder.resolve(), given.root.resolve()))
    text = table(results) + "".join(section(number, each) for number, each in enumerate(results, 1))
    if given.only:
        sys.stdout.write(text)
        return
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + text + END + rest.partition(END)[2])


def run_all(checkpoints: Iterable[Checkpoint], folder: Path, root: Path) -> Iterator[Result]:
    """One by one, saying on stderr where it is; a checkpoint that fails ends the run.

    So does one with a weight that is neither probed nor listed as skipped.
    """
    for checkpoint in checkpoints:
        result = run(checkpoint, folder, root)
        if result.single.missing:
            raise ValueError(f"{checkpoint.name}: lost {', '.join(result.single.missing)}")
        print(f"{checkpoint.name}: off by {deviations(result)}", file=sys.stderr)
        yield result


def run(checkpoint: Checkpoint, folder: Path, root: Path) -> Result:
    network, sums = reference(checkpoint, folder, root=root)
    _, rounded = reference(checkpoint, folder, root=root, dtype=torch.float32)
    double = None
    if checkpoint.float64:
        stats = probe(checkpoint, folder, "--dtype", "float64", root=root)
        double = compared(stats, network, sums)
    return Result(
        checkpoint=checkpoint,
        single=compared(probe(checkpoint, folder, root=root), network, sums),
        double=double,
        rounding=max(rounded[name].distance(sums[name]) for name in sums),
        scaffold=scaffold(checkpoint, folder),
    )


def table(results: Iterable[Result]) -> str:
    rows = []
    for number, each in enumerate(results, 1):
        checkpoint, stats = each.checkpoint, each.stats
        sides = spectrum(stats)
        rows.append(
            f"| {number} | {title(checkpoint)} "
            f"| {checkpoint.format} | {checkpoint.kind} | {len(stats.layers)} "
            f"| {span(row.lambda_max_input for row in sides)} "
            f"| {span(row.lambda_max_grad for row in sides)} | {deviations(each)} |\n"
        )
    return HEAD + "".join(rows)


def title(checkpoint: Checkpoint) -> str:
    package, _, version = checkpoint.package.partition("==")
    return f"`{Path(checkpoint.path).name}` of {package} {version}"


def span(values: Iterable[float]) -> str:
    known = sorted(values)
    return f"{known[0]:.1e} … {known[-1]:.1e}"


def deviations(result: Result) -> str:
    double = "–" if result.double is None else size(result.double.deviation)
    return f"{double}, {size(result.single.deviation)} ({size(result.rounding)})"


def size(deviation: float) -> str:
    return f"{deviation:.0e}" if deviation else "0"


def section(number: int, result: Result) -> str:
    """What was typed, and what came out in words."""
    checkpoint = result.checkpoint
    command = " ".join(["condcli probe", *checkpoint.command()])
    facts = [
        *parameters(result.stats),
        *measured(result.stats),
        f"`condcli inspect --scaffold` writes {result.scaffold} lines, which take every tensor",
    ]
    listed = "".join(f"- {fact}\n" for fact in facts)
    return f"\n### {number}. {title(checkpoint)}\n\n```\n{command}\n```\n\n{listed}"


def parameters(stats: ProbeStats) -> Iterator[str]:
    """How many of the model's parameters the layers stand for, and why not the others."""
    total, layers = stats.provenance.parameters, stats.layers.values()
    yield (
        f"{sum(layer.parameters for layer in layers):,} of {total:,} parameters are in the "
        f"{len(layers)} probed layer{'s' * (len(layers) > 1)}"
    )
    left: Counter[str] = Counter()
    for item in stats.skipped.values():
        left[item.reason] += item.parameters
    yield from (f"{count:,} skipped: {reason}" for reason, count in left.items())


def measured(stats: ProbeStats) -> Iterator[str]:
    """The loss with what it is of, and the dying units."""
    facts = stats.provenance
    right = "" if facts.accuracy is None else f", accuracy {facts.accuracy:.2%}"
    guess = "" if facts.chance is None else f" (always the commonest: {facts.chance:.2%})"
    yield f"loss {facts.loss:.3g} on {facts.examples} examples{right}{guess}"
    rows = [row for row in neurons(stats) if row.dying is not None]
    if rows:
        dying, units = sum(row.dying or 0 for row in rows), sum(row.units for row in rows)
        yield f"{dying} of {units} units are never above zero"


if __name__ == "__main__":
    main()

"""Cost against the number of examples, width and depth: `python -m benchmarks.scaling`.

A bare pass and condcli at one size after another. The plot goes to docs/cost.png, and the table
has the exponents: the slope of log seconds against log size, by least squares.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.document import ROOT, keep, number, origin, table
from benchmarks.machine import machine
from benchmarks.race import Setting, race
from benchmarks.workloads import SIZES

CONTESTANTS = ("bare", "condcli")
PLOT = ROOT / "docs/cost.png"

Seconds = dict[str, list[float]]  # contestant to the medians, by size


def main() -> None:
    """Measure every series, print, and write where asked."""
    options = _parsed()
    facts = machine(threads=options.threads)
    series = {f"{network}, {axis}": _series(network, axis, options) for network, axis in SIZES}
    text = f"{origin(facts)}\n\n{_table(series)}\n![Seconds against size]({PLOT.name})\n"
    print(text)
    if options.write:
        _plot(series)
        keep("scaling", text, {"machine": facts, "seconds": series}, document=options.write)


def _series(network: str, axis: str, options: argparse.Namespace) -> Seconds:
    seconds: Seconds = {name: [] for name in CONTESTANTS}
    for size in SIZES[network, axis]:
        setting = Setting(
            workload=f"{network}-{axis}-{size}", shrink=options.shrink, threads=options.threads
        )
        for result in race(setting, CONTESTANTS, rounds=options.rounds, reference=None):
            if result.seconds is None:
                raise SystemExit(f"{setting.workload}, {result.contestant}: {result.failure}")
            seconds[result.contestant].append(result.seconds)
    return seconds


def _table(series: Mapping[str, Seconds]) -> str:
    rows = [
        [
            f"{name} {sizes[0]} to {sizes[-1]}",
            *(number(_exponent(sizes, seconds[contestant])) for contestant in CONTESTANTS),
            *(number(seconds["condcli"][k] / seconds["bare"][k]) for k in (0, -1)),
        ]
        for sizes, (name, seconds) in zip(SIZES.values(), series.items(), strict=True)
    ]
    return table(["", "bare", "condcli", "× bare at first", "at last"], rows)


def _exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def _plot(series: Mapping[str, Seconds]) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FormatStrFormatter, LogLocator

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    panels = figure.subplots(2, 3, sharey="row")
    for axes, (sizes, (name, seconds)) in zip(
        panels.flat, zip(SIZES.values(), series.items(), strict=True), strict=True
    ):
        for contestant in CONTESTANTS:
            axes.loglog(sizes, seconds[contestant], "o-", label=contestant)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        # A decade has no tick of its own in most of them.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.set_title(name)
        axes.grid(alpha=0.3)
    for row in panels:
        row[0].set_ylabel("seconds")
    panels[0, 0].legend()
    figure.savefig(PLOT, dpi=100)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--shrink", type=int, default=1, help="by how much fewer examples")
    parser.add_argument("--write", type=Path, metavar="docs/performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()

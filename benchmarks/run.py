"""Bare pass, condcli and other libraries side by side: `python -m benchmarks.run` (`make bench`).

One table a workload: seconds of the passes, their ratio to the bare pass of the same run, seconds
of the whole call, memory, and the largest relative error of the matrices against float64.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.contestants import CONTESTANTS
from benchmarks.document import keep, megabytes, number, origin, table
from benchmarks.machine import machine, versions
from benchmarks.race import Result, Setting, race
from benchmarks.workloads import WORKLOADS, shrunk

HEADER = (
    "",
    "seconds",
    "× bare",
    "whole call",
    "peak MB",
    "MB at start",
    "factors MB",
    "Σ_x error",
    "Σ_∇h error",
)


def main() -> None:
    """Race, print, and write where asked."""
    options = parsed()
    facts = machine(threads=options.threads) | versions(CONTESTANTS.values())
    sections = [origin(facts) + "\n"]
    raw = {"machine": facts, "rounds": options.rounds, "workloads": {}}
    print(sections[0])
    for name in options.workload:
        setting = Setting(workload=name, shrink=options.shrink, threads=options.threads)
        results = race(setting, options.only, rounds=options.rounds)
        sections.append(section(shrunk(WORKLOADS[name], options.shrink).caption, results))
        raw["workloads"][name] = [asdict(result) for result in results]
        print(sections[-1], flush=True)
    if options.write:
        keep("run", "\n".join(sections), raw, document=options.write)


def section(caption: str, results: Sequence[Result]) -> str:
    """The table of one workload, with what could not be done below it."""
    bare = next((r.seconds for r in results if r.contestant == "bare"), None)
    failed = [f"- {r.contestant}: {r.failure}" for r in results if r.failure]
    rows = [row(result, bare) for result in results]
    return "\n".join([f"### {caption}\n", table(HEADER, rows), *failed, ""])


def row(result: Result, bare: float | None) -> list[str]:
    """A contestant's line."""
    ratio = result.seconds / bare if result.seconds and bare else None
    return [
        result.contestant,
        number(result.seconds, ".3f"),
        number(ratio),
        number(result.whole_seconds, ".3f"),
        megabytes(result.peak_bytes),
        megabytes(result.start_bytes),
        megabytes(result.factor_bytes or None),
        number(result.input_error, ".0e"),
        number(result.grad_error, ".0e"),
    ]


def parsed() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--workload", type=names(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--only", type=names(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--shrink", type=int, default=1, help="by how much fewer examples")
    parser.add_argument("--write", type=Path, metavar="docs/performance.md")
    return parser.parse_args()


def names(known: Collection[str]) -> Callable[[str], list[str]]:
    """A parser of names with commas between them."""

    def parse(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose {', '.join(known)}")
        return text.split(",")

    return parse


if __name__ == "__main__":
    main()

"""What each type of Fisher matrix costs: `python -m benchmarks.fisher`.

One table a workload and type, beside a bare pass of one backward. mc draws one label an example;
exact goes backward once for each of the ten classes. Drawn labels differ between libraries, so
that only matrices of the other types are compared, those of exact with curvlinops in float64.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from benchmarks.document import keep, origin
from benchmarks.machine import machine, versions
from benchmarks.race import Setting, race
from benchmarks.run import section
from benchmarks.workloads import WORKLOADS, shrunk

CONTESTANTS = ("bare", "condcli", "curvlinops")
REFERENCES = {"empirical": "hooks", "mc": None, "exact": "curvlinops"}
NETWORKS = ("mlp", "resnet20-patches")


def main() -> None:
    """Race, print, and write where asked."""
    options = _parsed()
    facts = machine(threads=options.threads) | versions(["curvlinops-for-pytorch"])
    sections, raw = [origin(facts) + "\n"], {}
    for name in NETWORKS:
        for fisher, reference in REFERENCES.items():
            setting = Setting(
                workload=name, shrink=options.shrink, threads=options.threads, fisher=fisher
            )
            results = race(setting, CONTESTANTS, rounds=options.rounds, reference=reference)
            caption = f"{shrunk(WORKLOADS[name], options.shrink).caption}, {fisher}"
            sections.append(section(caption, results))
            raw[f"{name} {fisher}"] = [asdict(result) for result in results]
            print(sections[-1], flush=True)
    if options.write:
        text = "\n".join(sections)
        keep("fisher", text, {"machine": facts, "runs": raw}, document=options.write)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fisher", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--shrink", type=int, default=1, help="by how much fewer examples")
    parser.add_argument("--write", type=Path, metavar="docs/performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()

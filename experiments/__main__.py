"""Runs experiments: `python -m experiments --scale smoke --root DATA --work FOLDER [NAME …]`.

DATA holds MNIST and CIFAR-10 as `condcli probe --root DATA` takes them. First it says how long all
will take here. Trainings that FOLDER holds already are not run again, those cut off go on. The
figures and numbers go into FOLDER; with --write also into docs/paper.md.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmarks.machine import machine
from experiments import EXPERIMENTS, SCALES
from experiments.cost import hours
from experiments.document import FIGURES, RESULTS, write_document
from experiments.recipe import Recipe
from experiments.setup import Outcome, Setup


def main() -> None:
    """Tell the cost, run, keep; exit 1 where an effect was not seen that the scale should show."""
    options = parsed()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.write:
        FIGURES.mkdir(exist_ok=True)
        RESULTS.mkdir(exist_ok=True)
    setup = Setup(
        scale=options.scale,
        root=options.root,
        work=options.work,
        figures=FIGURES if options.write else options.work,
        device=options.device,
    )
    chosen = {name: import_module(f"experiments.{name}") for name in options.names or EXPERIMENTS}
    for name in [name for name, module in chosen.items() if module.SIZES[setup.scale] is None]:
        print(f"{name}: not at this scale: {chosen.pop(name).ROWS_NOT_RUN}")
    if not options.no_cost:
        tell_cost(chosen, setup)
    if options.cost:
        return
    held = True
    for name, module in chosen.items():
        print(f"{name}: {module.TITLE}", flush=True)
        outcome = module.run(module.SIZES[setup.scale], setup)
        keep(name, outcome, setup, threads=options.threads, write=options.write)
        for check in outcome.checks:
            print(f"  {'holds' if check.holds else 'FAILS'}: {check.claim}: {check.ours}")
            held &= check.holds
    if options.write:
        write_document()
    sys.exit(0 if held or setup.scale == "smoke" else 1)


def tell_cost(modules: dict[str, ModuleType], setup: Setup) -> None:
    """Hours of each experiment's trainings, each counted once, from one step of each."""
    seen: dict[str, Recipe] = {}
    total = 0.0
    print(f"scale {setup.scale}, on {setup.device}, one step of each training timed:")
    for name, module in modules.items():
        new = dict(unseen(module.recipes(module.SIZES[setup.scale]), seen))
        cost = hours(new, setup)
        if hasattr(module, "hours"):  # of what is no training of one network
            cost["own"] = module.hours(module.SIZES[setup.scale], setup)
        steps = sum(recipe.steps for recipe in new.values())
        total += sum(cost.values())
        print(
            f"  {name:16} {len(new):3} trainings {steps:8,} steps {sum(cost.values()):8.2f} h",
            flush=True,
        )
    print(f"  {'together':16} {total:8.2f} h, without what {setup.work} holds already")


def unseen(recipes: dict[str, Recipe], seen: dict[str, Recipe]) -> Iterator[tuple[str, Recipe]]:
    """Those whose digest is new; they are put into ``seen``."""
    for name, recipe in recipes.items():
        if recipe.digest not in seen:
            seen[recipe.digest] = recipe
            yield name, recipe


def keep(name: str, outcome: Outcome, setup: Setup, *, threads: int, write: bool) -> None:
    """The outcome as JSON, beside the figures or among the results that docs/paper.md is from."""
    place = (RESULTS if write else setup.work) / f"{name}.json"
    facts = {"scale": setup.scale, "device": setup.device, "machine": machine(threads=threads)}
    text = json.dumps(
        facts | finite(asdict(outcome)), indent=1, ensure_ascii=False, allow_nan=False
    )
    # A list of numbers takes one line.
    text = re.sub(r"\[[-+.,\deEnul\s]*\]", lambda found: " ".join(found[0].split()), text)
    place.write_text(text + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """The same with five digits, and None for what is no number that JSON has."""
    if isinstance(value, dict):
        return {str(key): finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def parsed() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--scale", choices=SCALES, default="smoke")
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the data sets")
    parser.add_argument(
        "--work", type=Path, default=Path("paper"), help="folder of all that is made"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cost", action="store_true", help="only tell the cost")
    parser.add_argument("--no-cost", action="store_true", help="do not take the time to find it")
    parser.add_argument("--write", action="store_true", help="write docs/paper.md")
    options = parser.parse_args()
    for name in options.names:
        if name not in EXPERIMENTS:
            parser.error(f"no experiment {name}; there are {', '.join(EXPERIMENTS)}")
    if options.write and options.scale == "smoke":
        parser.error("--write: docs/paper.md has nothing of the scale smoke")
    return options


if __name__ == "__main__":
    main()

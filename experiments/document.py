"""docs/paper.md, from what the experiments have left: `python -m experiments.document`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.document import table
from experiments import EXPERIMENTS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments/results"
FIGURES = ROOT / "docs/paper"
DOCUMENT = ROOT / "docs/paper.md"
NOT_RUN = "ready, not run"
INTRODUCTION = """# The paper's experiments, repeated

Huang, Qin, Liu, Zhu, Shao, “Layer-wise Conditioning Analysis in Exploring the Learning Dynamics of
DNNs” (ECCV 2020, arXiv 2002.10801), repeated with condcli. Each experiment is a file in
`experiments/` that uses what every user of condcli has. This page is written by the runs:

```
make paper SCALE=smoke              # minutes, on the data that condcli brings: does all run?
make paper SCALE=cpu ROOT=data      # what a processor can do; says first how long it takes
make paper SCALE=full DEVICE=cuda   # as in the paper
python -m experiments --scale cpu --root data --write NAME   # one of them, into this page
```

`data` holds MNIST and CIFAR-10, as `condcli probe --download` leaves them. Trainings are seeded, go
on where they were cut off, and leave checkpoints that `condcli probe` takes as they are.

*Reproduced* says that every effect that the paper states was seen, at the paper's size; *partly*
says what is missing. What was not run has no number.
"""


def write_document() -> None:
    """Write the page anew."""
    DOCUMENT.write_text(document(), encoding="utf-8")


def document() -> str:
    """The page, from the results that there are."""
    modules = {name: import_module(f"experiments.{name}") for name in EXPERIMENTS}
    results = {name: result(name) for name in EXPERIMENTS}
    parts = [INTRODUCTION, overview(modules, results)]
    parts += [section(name, modules[name], results[name]) for name in EXPERIMENTS]
    return "\n".join(parts)


def result(name: str) -> dict[str, Any] | None:
    """What an experiment has left, or None."""
    place = RESULTS / f"{name}.json"
    return json.loads(place.read_text(encoding="utf-8")) if place.exists() else None


def overview(
    modules: Mapping[str, ModuleType], results: Mapping[str, dict[str, Any] | None]
) -> str:
    """A row for every figure and table of the paper."""
    rows = []
    for name, module in modules.items():
        found = results[name]
        for row, shows in module.ROWS.items():
            done = found["rows"].get(row) if found else None
            status = done["status"] if done else NOT_RUN
            text = done["text"] if done else module.ROWS_NOT_RUN
            rows.append([f"[{row}](#{name.replace('_', '-')})", shows, f"**{status}**", text])
    header = ("the paper's", "shows", "here", "numbers, or what is missing")
    return "## Overview\n\n" + texts(header, rows)


def texts(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of text, which may have bars in it."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return table(header, cells).replace("---:", "---")


def section(name: str, module: ModuleType, found: Mapping[str, Any] | None) -> str:
    """One experiment: the paper's claim, what was seen here, and the figures."""
    head = f'<a id="{name.replace("_", "-")}"></a>\n\n## {module.TITLE}\n\n{module.CLAIM}\n'
    if found is None:
        return f"{head}\n*Ready, not run:* {module.ROWS_NOT_RUN}\n"
    checks = texts(
        ("effect", "expected", "here", "seen"),
        [
            [c["claim"], c["paper"], c["ours"], "yes" if c["holds"] else "**no**"]
            for c in found["checks"]
        ],
    )
    pictures = "\n".join(f"![{module.TITLE}](paper/{figure})\n" for figure in found["figures"])
    return "\n".join([head, origin(name, found), "", checks, pictures, found["remarks"], ""])


def origin(name: str, found: Mapping[str, Any]) -> str:
    """The command, what it ran, and where."""
    machine = found["machine"]
    settings = "".join(f"; {key} {value}" for key, value in found["settings"].items())
    return (
        f"`python -m experiments --scale {found['scale']} --write {name}`, {machine['date']}, "
        f"{found['device']} ({machine['processor']}), torch {machine['torch']}{settings}."
    )


if __name__ == "__main__":
    write_document()

"""A real network, trained on digits and spoilt half-way: its turning points are where they were.

One layer before batch norm is multiplied by 100 at one step. By Theorem 4.2 of the paper, the
function stays, and the layer's gradient becomes a hundredth: its ratio falls by 10,000.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from condcli.cli import run
from condcli.data import open_data
from condcli.models import ZOO, write_checkpoint

ARGS = {"inputs": 64, "depth": 4, "width": 16, "norm": "bn"}
STEPS, SPOILT, EVERY, FACTOR = 24, 15, 3, 100.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Statistics of steps 0, 3, … 24 in run/, without a step in the checkpoints."""
    place = tmp_path_factory.mktemp("real")
    torch.manual_seed(0)
    model = ZOO["mlp"](**ARGS)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    digits = open_data("digits", split="train", samples=None)
    inputs, labels = next(digits.batches(digits.examples))
    for step in range(STEPS + 1):
        if step == SPOILT:
            with torch.no_grad():
                model.get_parameter("fc2.weight").mul_(FACTOR)
        if step % EVERY == 0:
            file = place / f"epoch_{step}.pt"
            write_checkpoint(file, model.state_dict(), arch="mlp", arch_args=ARGS)
        loss = functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    models = sorted(map(str, place.glob("epoch_*.pt")))
    data = ["--data", "digits", "--samples", "256"]
    assert run(["-q", "probe", *models, *data, "-o", str(place / "run")]) == 0
    return place / "run"


def turning_points(folder: Path, capsys: Any, *options: str) -> list[dict[str, Any]]:
    assert run(["dynamics", str(folder), "--turning-points", "--format", "json", *options]) == 0
    printed = capsys.readouterr()
    assert "steps are the last numbers in the files' names" in printed.err
    rows: list[dict[str, Any]] = json.loads(printed.out)["rows"]
    return rows


def test_the_spoilt_layer_and_the_step_are_named(folder: Path, capsys: Any) -> None:
    found = turning_points(folder, capsys, "--threshold", "1e-3", "--layers", "fc*")
    told = [(row["step"], row["name"], row["event"]) for row in found if row["metric"] == "ratio"]
    assert told == [(SPOILT, "fc2", "gets-dominated")]
    (entered,) = [row for row in found if row["metric"] == "ratio"]
    assert entered["what"].startswith("enters weight domination, as its weight norm rose ")
    (risen,) = [row for row in found if row["metric"] == "weight_norm"]
    assert (risen["name"], risen["since"], risen["step"]) == ("fc2", SPOILT - EVERY, SPOILT)
    assert risen["fold"] == pytest.approx(FACTOR, rel=0.05)


def test_the_ratio_falls_by_the_square(folder: Path, capsys: Any) -> None:
    assert (
        run(["-q", "dynamics", str(folder), "--steps", "--layers", "fc2", "--format", "json"]) == 0
    )
    rows = {row["step"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    before, after = rows[SPOILT - EVERY], rows[SPOILT]
    assert after["ratio"] / before["ratio"] == pytest.approx(FACTOR**-2, rel=0.5)  # it also learned
    assert after["loss"] == pytest.approx(before["loss"], rel=0.2)

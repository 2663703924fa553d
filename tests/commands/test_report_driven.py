"""Reports of a real network and of a long run: every control of the page is used in Chromium."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import condcli
from condcli.cli import run
from tests.browser import Browser
from tests.driving import drive
from tests.synthetic import activation, diagonal, layer, stats


def report(*paths: Path, folder: Path) -> Path:
    page = folder / "page.html"
    assert run(["report", *map(str, paths), "-o", str(page)]) == 0
    return page


def test_every_control_of_a_resnet_18_s_report_works(chromium: Browser, tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    network = torchvision.models.resnet18(weights=None)
    found = condcli.probe(network, "random:3x32x32", samples=8, per_example="none")
    condcli.write(found, tmp_path / "stats.h5")
    page = report(tmp_path / "stats.h5", folder=tmp_path)
    used = drive(chromium, page)
    assert used["layers and activations"] == 21 + 17
    assert used["steps"] == 0
    assert used["columns of tables"] > 30
    assert chromium.complaints == []
    assert {address.split(":")[0] for address in chromium.requests} <= {"file", "data"}
    assert page.stat().st_size < 500_000


def test_every_control_of_a_run_of_fifty_works(chromium: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for step in range(50):
        layers = [
            layer(
                name,
                diagonal(*np.logspace(order - step / 10, -4, 12)),
                diagonal(*np.logspace(-order, -9 + step / 10, 8)),
                order=order,
                weight_grad_singular_values=np.array([10 ** (-step / 10 - order), 0.0]),
            )
            for order, name in enumerate(("fc1", "fc2", "head"))
        ]
        active = np.array([step, 100, 40, 3])
        written = stats(*layers, activations=(activation(active_count=active),), loss=3 - step / 20)
        condcli.write(written, folder / f"epoch_{step}.h5")
    page = report(folder, folder=tmp_path)
    used = drive(chromium, page)
    assert used["layers and activations"] == 3 + 1
    assert used["steps"] == 50
    assert used["choices"] == 3 + 5
    assert chromium.complaints == []
    chromium.open(f"{page.as_uri()}#step=7&layer=fc2")
    assert chromium.text("#step-name") == "step 7 (8 of 50)"
    assert chromium.text("#item-name") == "fc2"
    assert page.stat().st_size < 1_000_000

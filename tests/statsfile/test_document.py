"""docs/stats-file.md says all of schema 1, and its example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from condcli.stats import (
    ActivationStats,
    LayerSpectra,
    LayerStats,
    Provenance,
    SkippedParameter,
)
from condcli.statsfile import write
from condcli.statsfile.schema import DTYPES, is_array
from tests.synthetic import diagonal, layer, stats

DOCUMENT = (Path(__file__).parents[2] / "docs" / "stats-file.md").read_text(encoding="utf-8")


def test_the_example_runs_with_h5py_alone(tmp_path: Path) -> None:
    grouped = layer("a/b", np.stack([diagonal(1.0, 2.0), diagonal(8.0, 3.0)]), np.ones((2, 1, 1)))
    write(stats(layer(), grouped), tmp_path / "stats.h5")
    example = re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert example is not None
    assert len(example[1].splitlines()) <= 10
    done = subprocess.run(
        [sys.executable, "-c", example[1]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, third = done.stdout.splitlines()
    assert first == "net.pt on digits"
    assert second.split()[:2] == ["fc", "linear"]
    assert float(second.split()[2]) == pytest.approx(4.0)
    assert third.split()[0] == "a/b"
    assert float(third.split()[2]) == pytest.approx(8.0)


@pytest.mark.parametrize(
    "record", [Provenance, LayerStats, LayerSpectra, ActivationStats, SkippedParameter]
)
def test_every_field_is_documented(record: type) -> None:
    names = {item.name for item in fields(record)} - {"name"}
    assert {name for name in names if f"`{name}`" not in DOCUMENT} == set()


def test_every_field_has_a_form_in_the_file() -> None:
    for record in (Provenance, LayerStats, LayerSpectra, ActivationStats, SkippedParameter):
        for item in fields(record):
            bare = str(item.type).removesuffix(" | None")
            assert is_array(bare) or bare in {"str", "int", "float", "bool", "tuple[int, ...]"}
    assert np.dtype(DTYPES["IntArray"][0]) == np.int64

"""A few limits of the memory sweep; `python -m tests.reliability.sweep_memory` tries them all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.reliability.runner import Runner
from tests.reliability.sweep_memory import READ, ends_as_promised, plant, starts_as_promised

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space")


def test_less_and_less_memory_is_enough_or_refused(runner: Runner, tmp_path: Path) -> None:
    plant(tmp_path)
    codes = [ends_as_promised(runner, tmp_path, more).code for more in (0, 32, 256, 1024)]
    assert codes == [5, 5, 5, 0]


def test_too_little_to_start_torch_is_refused(tmp_path: Path) -> None:
    plant(tmp_path)
    code, said = starts_as_promised(tmp_path, 400)
    assert code == 5
    assert "memory is too short to start torch: " in said


@pytest.mark.parametrize(("most", "expected"), [(160, 5), (448, 0)])
def test_too_little_for_the_solvers_is_refused(most: int, expected: int, tmp_path: Path) -> None:
    """OpenBLAS would end the process."""
    plant(tmp_path)
    code, said = starts_as_promised(tmp_path, most, READ)
    assert code == expected
    assert code == 0 or "memory is too short; " in said

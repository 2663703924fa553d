"""The reading commands start without what they do not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import condcli

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "scipy", "matplotlib")
PROGRAM = """
import sys
from condcli.cli import run
assert run(sys.argv[1:]) == 0
print("loaded", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def loaded_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("command", ["diagnose", "spectrum", "domination", "neurons", "inspect"])
def test_reading_commands_do_not_load_torch(command: str, file: Path) -> None:
    loaded = loaded_by(command, str(file.absolute()))
    assert loaded.isdisjoint(HEAVY)
    assert "h5py" in loaded


@pytest.mark.parametrize(
    "arguments", [("--help",), ("spectrum", "--help"), ("probe", "--help"), ("plot", "--help")]
)
def test_help_does_not_load_numpy(arguments: tuple[str, ...]) -> None:
    assert loaded_by(*arguments).isdisjoint((*HEAVY, "numpy", "h5py"))


def test_json_does_not_load_rich(file: Path) -> None:
    assert "rich" not in loaded_by("neurons", str(file.absolute()), "--format", "json")


def test_importing_condcli_loads_nothing() -> None:
    program = "import sys, condcli; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_every_public_name_is_there_when_asked_for() -> None:
    assert {"probe", "read", "write", "spectrum", "domination", "neurons"} <= set(dir(condcli))
    for name in condcli.__all__:
        assert getattr(condcli, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'spectra'"):
        _ = condcli.spectra  # type: ignore[attr-defined]

"""Files that others made, probed as docs/checkpoints.md shows, beside its independent reference."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from catalogue import CHECKPOINTS, Checkpoint
from compare import compared, reference

from condcli import read
from condcli.cli import run

from .conftest import SMALL

REFUSED = 4  # as unsafe
CLOSE = 1e-10  # of the largest entry; rounding alone gives 1e-13


def probed(
    checkpoint: Checkpoint, folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> int:
    """The exit code of the command that the documentation shows, typed in ``folder``."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return run(["probe", *checkpoint.command(), "--dtype", "float64", "--output", str(file)])


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_of_a_real_checkpoint_agrees_with_the_reference(
    name: str,
    checkpoints: dict[str, Checkpoint],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint, file = checkpoints[name], tmp_path / "stats.h5"
    code = probed(checkpoint, folder, file, monkeypatch)
    assert code == 0, capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        network, sums = reference(checkpoint, folder, root=tmp_path)
    stats = read(file)
    outcome = compared(stats, network, sums)
    assert outcome.missing == ()
    assert outcome.deviation < CLOSE, outcome.worst
    parts = [*stats.layers.values(), *stats.skipped.values()]
    total = sum(parameter.numel() for parameter in network.parameters())
    assert sum(part.parameters for part in parts) == stats.provenance.parameters == total


def test_a_torchscript_program_is_refused_until_it_is_trusted(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = next(each for each in CHECKPOINTS if each.name == "silero-program")
    wary = replace(checkpoint, options=())
    assert probed(wary, folder, tmp_path / "stats.h5", monkeypatch) == REFUSED
    assert "TorchScript" in capsys.readouterr().err
    assert probed(checkpoint, folder, tmp_path / "stats.h5", monkeypatch) == 0

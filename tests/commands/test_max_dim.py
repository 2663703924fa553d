"""``condcli probe --max-dim``: what it says, and what the other commands make of the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from condcli.cli import run
from condcli.output import terminal
from condcli.statsfile import read

MODEL = str(Path(__file__).parents[2] / "sample_checkpoints" / "mlp5_bn.pt")
PROBE = ["probe", MODEL, "--data", "digits", "--samples", "50", "--per-example", "none"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "_quiet", False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize(
    ("max_dim", "said"), [("63", "their rows are kept"), ("40", "only a sketch is kept")]
)
def test_every_command_takes_a_file_with_factors(
    max_dim: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*PROBE, "--max-dim", max_dim]) == 0
    assert f"note: wider than --max-dim {max_dim}: of fc1, fc2, fc3 and 2 more {said}" in (
        capsys.readouterr().err
    )
    layer = read("stats.h5").layers["fc2"]
    assert (layer.input_moment, layer.grad_moment) == (None, None)
    for command in ("verify", "inspect", "domination", "neurons", "diagnose", "spectrum --top 3"):
        assert run([*command.split(), "stats.h5"]) == 0, command
    capsys.readouterr()
    assert run(["spectrum", "stats.h5", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert all((row["error_input"] == 0) == (max_dim == "63") for row in rows)
    assert rows[-1]["error_grad"] is None  # ten outputs


def test_a_wide_layer_is_plotted_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert run([*PROBE, "--max-dim", "40"]) == 0
    assert run(["plot", "matrices", "stats.h5", "-o", "m.png"]) == 0
    assert run(["plot", "spectra", "stats.h5", "-o", "s.png"]) == 0
    assert run(["report", "stats.h5", "-o", "r.html"]) == 0
    assert all(Path(name).stat().st_size > 0 for name in ("m.png", "s.png", "r.html"))


def test_max_dim_below_1_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*PROBE, "--max-dim", "0"]) == 2
    assert "--max-dim" in capsys.readouterr().err

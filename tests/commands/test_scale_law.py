"""``condcli scale-law``: what a person sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from condcli.cli import run

SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"
PLAIN, NORMALIZED = (
    ["scale-law", str(SAMPLES / f"{name}.pt"), "--data", "digits", "--samples", "32"]
    for name in ("mlp5_he", "mlp5_bn")
)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_the_table_tells_plain_from_normalised(capsys: pytest.CaptureFixture[str]) -> None:
    for command, law in ((PLAIN, "4.1"), (NORMALIZED, "4.2")):
        assert run([*command, "--layers", "fc[123]"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert max(map(len, out.splitlines())) <= 80
        lines = [line.split() for line in out.splitlines() if line.startswith("fc")]
        assert [line[0] for line in lines] == ["fc1", "fc2", "fc3"]
        assert all(law in line for line in lines)


def test_effects_of_one_layer_are_beside_the_law(capsys: pytest.CaptureFixture[str]) -> None:
    effects = [*NORMALIZED, "--effects", "--layers", "fc2", "--alpha", "4"]
    assert run([*effects, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == "scale-law"
    rows = {row["layer"]: row for row in document["rows"]}
    assert list(rows) == [f"fc{i}" for i in range(1, 6)]
    assert rows["fc2"]["weight_grad_predicted"] == 0.25
    for row in rows.values():
        for name in ("input", "grad", "weight_grad"):
            assert row[f"{name}_ratio"] == pytest.approx(row[f"{name}_predicted"], rel=1e-3)
    assert run(effects) == 0
    assert "fc2 times 4" in capsys.readouterr().out


def test_a_gate_tells_what_is_not_normalised(capsys: pytest.CaptureFixture[str]) -> None:
    gate = ["--layers", "fc1", "--fail-on", "later_inputs>0.5"]
    assert run([*PLAIN, *gate]) == 1
    assert "holds for 1 of 1 rows: fc1" in capsys.readouterr().err
    assert run([*NORMALIZED, *gate]) == 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--alpha", "1"], 2, "scales nothing"),
        (["--alpha", "many"], 2, "--alpha"),
        (["--effects"], 2, "name one, such as --layers fc1"),
        (["--layers", "fc9"], 2, "leaves no layer to scale"),
    ],
)
def test_errors_are_one_line(
    options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*PLAIN, *options]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1

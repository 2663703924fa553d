"""`condcli inspect` of checkpoints: the tree of modules, the scaffold, and what to type next."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import torch
from torch import nn

from condcli.cli import run


class Block(nn.Module):
    """Attention with a LoRA, an MLP, and norms."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(8, 24), "proj": nn.Linear(8, 8)})
        self.mlp = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))


class Network(nn.Module):
    """Something of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 8))
        self.stem = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3, groups=4)
        )
        self.blocks = nn.ModuleList([Block() for _ in range(4)])
        self.lstm = nn.LSTM(8, 6, num_layers=2, bidirectional=True)
        self.add_module("[/bold]\x1b[31m a module with a very long name indeed", nn.Linear(12, 3))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    # One fixed file would do, but torch.save's bytes change with its version.
    monkeypatch.setattr("condcli.models.checkpoint.Checkpoint.sha256", "0" * 64)
    monkeypatch.setattr("condcli.files.Sources.size", lambda *_: 12345)
    state = Network().state_dict()
    for tensor in state.values():
        if tensor.numel() > 1:
            tensor.copy_(torch.linspace(-1, 1, tensor.numel()).view(tensor.shape))
    torch.save(state, "net.pt")
    return Path("net.pt")


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict(), "chain.pt")
    return Path("chain.pt")


OUTPUTS = {
    "inspect-modules-80.txt": (80, ""),
    "inspect-modules-120.txt": (120, ""),
    "inspect-modules.md": (80, "--format markdown"),
    "inspect-modules.csv": (80, "--format csv"),
    "inspect-tensors-80.txt": (80, "--tensors"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_output_is_as_reviewed(
    name: str,
    file: Path,
    golden: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns, options = OUTPUTS[name]
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["inspect", str(file), *options.split()]) == 0
    printed = capsys.readouterr()
    golden(name, printed.out)
    assert printed.err == ""
    assert "\x1b" not in printed.out


def test_every_format_has_the_same_modules(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(file), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert run(["inspect", str(file), "--format", "csv"]) == 0
    lines = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert [row["guess"] for row in rows] == [line["guess"] for line in lines]
    blocks = next(row for row in rows if row["repeats"] == 4)
    assert (blocks["name"], blocks["last"], blocks["kind"]) == ("blocks.0", "blocks.3", None)


def test_a_scaffold_is_written_and_probes(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(chain), "--scaffold", "model.py"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "model.py: written"
    command = told[-1].removeprefix("then: condcli ").replace("DATA", "random:1x8x8")
    assert run([*command.split(), "--samples", "4"]) == 0
    assert Path("stats.h5").exists()
    assert {path.name for path in Path().iterdir()} == {"chain.pt", "model.py", "stats.h5"}


def test_a_scaffold_that_needs_work_names_the_classes(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(file), "--scaffold", "model.py"]) == 0
    assert "write the forward of Attn, Block, Net" in capsys.readouterr().out


def test_a_scaffold_replaces_nothing_without_force(
    chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("model.py").write_text("mine")
    assert run(["inspect", str(chain), "--scaffold", "model.py"]) == 5
    assert "--force" in capsys.readouterr().err
    assert Path("model.py").read_text() == "mine"
    assert run(["inspect", str(chain), "--scaffold", "model.py", "--force"]) == 0
    assert "def build()" in Path("model.py").read_text()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--scaffold", "model.txt"], 2, "a name that ends in .py"),
        (["--scaffold", "nowhere/model.py"], 5, "there is no folder nowhere"),
        (["--weights", "ema"], 2, "ema"),
    ],
)
def test_what_cannot_be_written_is_said(
    options: list[str], code: int, said: str, chain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(chain), *options]) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""
    assert {path.name for path in Path().iterdir()} == {"chain.pt"}


def test_a_name_that_no_module_can_have_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a..b": torch.ones(1)}, "odd.pt")
    assert run(["inspect", "odd.pt", "--scaffold", "model.py"]) == 3
    assert "odd.pt: the name 'a.' cannot be in a torch module" in capsys.readouterr().err
    assert not Path("model.py").exists()


def test_the_file_can_be_read_by_others(chain: Path) -> None:
    assert run(["inspect", str(chain), "--scaffold", "model.py"]) == 0
    Path("other.txt").write_text("x")
    modes = [stat.S_IMODE(Path(name).stat().st_mode) for name in ("model.py", "other.txt")]
    assert modes[0] == modes[1]

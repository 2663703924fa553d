"""`--force` replaces what stood at `-o`, and never what the command line names as an input."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from condcli.cli import run
from condcli.models import ZOO, write_checkpoint
from condcli.names import paths_in

ARGS = {"inputs": 64, "classes": 10, "depth": 1, "width": 6}
CODE = "from torch import nn\ndef f(*a): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    state = ZOO["mlp"](**ARGS).state_dict()
    write_checkpoint(tmp_path / "m.pt", state, arch="mlp", arch_args=ARGS, data="digits")
    for name in ("net.py", "loss.py", "mine.py"):
        (tmp_path / name).write_text(CODE)
    for name in ("images/a/1.png", "data/x.npz", "tokens/tokenizer.json", "text.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("{}")
    save_file(state, tmp_path / "model-1.safetensors")
    shards = ", ".join(f'"{name}": "model-1.safetensors"' for name in state)
    (tmp_path / "model.safetensors.index.json").write_text(f'{{"weight_map": {{{shards}}}}}')
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ("m.pt", "m.pt"),
        ("m.pt", "./images/../m.pt"),
        ("m.pt --data text:text.txt", "text.txt"),
        ("m.pt --data imagefolder:images", "images/a/1.png"),
        ("m.pt --data hfdataset:images", "images/a/1.png"),
        ("m.pt --data mine.py:f", "mine.py"),
        ("m.pt --data data/x.npz", "data/x.npz"),
        ("m.pt --arch net.py:f", "net.py"),
        ("m.pt --loss loss.py:f", "loss.py"),
        ("m.pt --transform mine.py:f", "mine.py"),
        ("m.pt --tokenizer tokens", "tokens/tokenizer.json"),
        ("m.pt --tokenizer tokens/tokenizer.json", "tokens/tokenizer.json"),
        ("m.pt", "data/x.npz"),  # in the folder that --root is, if not given
        ("m.pt --root images", "images/a/1.png"),
        ("model.safetensors.index.json --data digits", "model.safetensors.index.json"),
        ("model.safetensors.index.json --data digits", "model-1.safetensors"),
    ],
)
def test_an_input_is_never_replaced(arguments: str, output: str, folder: Path, capsys: Any) -> None:
    before = digests(folder)
    command = ["probe", *arguments.split(), "--samples", "8", "--force", "-o", output]
    assert run(command) == 5
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith(f"condcli: error: {Path(output)}: is also an in")
    assert digests(folder) == before


def test_statistics_beside_the_data_may_be_replaced(folder: Path) -> None:
    command = ["probe", "m.pt", "--samples", "8", "-o", "data/stats.h5"]
    assert run(command) == 0
    assert run([*command, "--force"]) == 0


def test_what_is_no_path_names_none(folder: Path) -> None:
    assert paths_in("digits", None, "nothing:here", "x" * 5000, "a\0b", "package.module:f") == []


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

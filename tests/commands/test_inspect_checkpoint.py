from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from condcli.cli import run
from condcli.models import ZOO, write_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    arguments = {"inputs": 8, "classes": 3, "depth": 2, "width": 5}
    model = ZOO["mlp"](**arguments)
    path = tmp_path / "net.pt"
    write_checkpoint(path, model.state_dict(), arch="mlp", arch_args=arguments, step=7)
    return path


def test_a_checkpoint_is_described_tensor_by_tensor(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(checkpoint), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"] == "inspect"
    assert found["facts"]["step"] == "7"
    assert sum(row["parameters"] for row in found["rows"]) == 8 * 5 + 5 + 5 * 3 + 3
    assert run(["inspect", str(checkpoint)]) == 0
    assert "mlp" in capsys.readouterr().out


def test_a_pickled_module_is_refused_without_trust(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    assert run(["inspect", str(tmp_path / "module.pt")]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("condcli: error: ")
    assert "--trust" in printed.err
    assert run(["inspect", "--trust", str(tmp_path / "module.pt")]) == 0

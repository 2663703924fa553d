"""`condcli arch list` and `condcli data list`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from condcli.cli import run
from condcli.data import known


@pytest.mark.parametrize("name", ["arch", "data"])
@pytest.mark.parametrize("columns", [80, 160])
def test_the_list_is_as_reviewed(
    name: str,
    columns: int,
    golden: Callable[[str, str], None],
    monkeypatch: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    one = {"resnet18": "Deep Residual Learning for Image Recognition"}  # of this version's many
    monkeypatch.setattr("condcli.names.vision_papers", lambda: one)
    assert run([name, "list"]) == 0
    printed = capsys.readouterr().out
    golden(f"{name}-list-{columns}.txt", printed)
    assert max(map(len, printed.splitlines())) <= columns


@pytest.mark.parametrize("form", ["json", "csv", "markdown"])
def test_every_format_has_every_name(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list", "--format", form]) == 0
    printed = capsys.readouterr().out
    if form == "json":
        found = json.loads(printed)
        assert (found["command"], found["file"]) == ("data list", None)
        assert [row["name"] for row in found["rows"]] == list(known())
    assert all(name in printed for name in known())


def test_all_of_torchvision_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["arch", "list", "--format", "json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]]
    assert "torchvision:vit_b_16" in names
    assert sum(name.startswith("torchvision:") for name in names) >= 80


def test_without_a_subcommand_the_help_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["arch"]) == 2
    assert "see condcli arch --help" in capsys.readouterr().err

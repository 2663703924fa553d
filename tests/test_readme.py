"""What the README shows is what condcli does."""

from __future__ import annotations

import html
import math
import re
import shlex
from pathlib import Path

import pytest
import typer

from condcli.cli import app, run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Another processor or BLAS rounds otherwise, and κ and λ of tiny gradients feel it.
RELATIVE = 0.05


def shown_tables() -> dict[str, str]:
    """The sample that each table of the README is of, and its text."""
    pages = [html.unescape(block) for block in re.findall(r"<pre>\n(.*?)\n</pre>", README, re.S)]
    found = [page.split("\n\n", 1) for page in pages]
    return {command.split()[-1].removesuffix(".h5"): table for command, table in found}


def commands_shown() -> list[tuple[str, list[str]]]:
    """Every condcli command line in the documents, and the page it is on."""
    lines = []
    for page in PAGES:
        for block in re.findall(r"```\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            for line in block.splitlines():
                for part in line.split("&&"):
                    if part.split()[:1] == ["condcli"]:  # not what it prints, which is no shell's
                        lines.append((page.name, shlex.split(part, comments=True)[1:]))
    return lines


@pytest.mark.parametrize("sample", ["default", "bn"])
def test_the_tables_are_real(
    sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "stats.h5"
    checkpoint = ROOT / "sample_checkpoints" / f"mlp20_{sample}.pt"
    assert run(["--quiet", "probe", str(checkpoint), "--data", "digits", "-o", str(file)]) == 0
    monkeypatch.setenv("COLUMNS", "46")
    assert run(["spectrum", str(file), "--percent", "50"]) == 0
    printed = capsys.readouterr().out.split("\n\n")[1]
    for now, shown in zip(printed.splitlines(), shown_tables()[sample].splitlines(), strict=True):
        assert all(map(alike, now.split(), shown.split())), (now, shown)


def test_the_diagnosis_is_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "stats.h5"
    checkpoint = ROOT / "sample_checkpoints" / "mlp20_default.pt"
    assert run(["--quiet", "probe", str(checkpoint), "--data", "digits", "-o", str(file)]) == 0
    monkeypatch.setenv("COLUMNS", "100")
    assert run(["diagnose", str(file)]) == 0
    _, printed = capsys.readouterr().out.split("\n\n", 1)
    shown = re.search(r"\$ condcli diagnose stats.h5\n\n(.*?)```", README, re.S)
    assert shown is not None
    # Counts of what is above a threshold may differ by a layer where sums are rounded otherwise.
    words = [[re.sub(r"\d+", "#", word) for word in text.split()] for text in (printed, shown[1])]
    assert words[0] == words[1]


def alike(now: str, shown: str) -> bool:
    try:
        return math.isclose(float(now), float(shown), rel_tol=RELATIVE)
    except ValueError:
        return now == shown


def test_the_documents_show_commands() -> None:
    assert len(commands_shown()) >= 8


@pytest.mark.parametrize(("page", "words"), commands_shown())
def test_every_command_shown_exists_with_its_options(page: str, words: list[str]) -> None:
    commands = typer.main.get_command(app).commands
    assert words[0] in commands, page
    options = {name for parameter in commands[words[0]].params for name in parameter.opts}
    assert {word for word in words[1:] if word.startswith("-")} <= options | {"--help"}, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target

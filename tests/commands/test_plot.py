"""`condcli plot`: what it writes, says and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from condcli.cli import run
from condcli.output.plots import KINDS, RUN_KINDS
from condcli.statsfile import write
from tests.output.plots.networks import hard_network, network, write_run
from tests.synthetic import layer, stats

ROOT = Path(__file__).parents[2]
HEADS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """./net.h5, and the run ./run/."""
    write(network(2), tmp_path / "net.h5")
    write_run(tmp_path / "run", steps=2, depth=2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], line: str, code: int) -> str:
    before = sorted(Path().rglob("*"))
    assert run(line.split()) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sorted(Path().rglob("*")) == before
    return printed.err


@pytest.mark.parametrize("columns", [80, 160])
def test_the_list_is_as_reviewed(
    columns: int,
    golden: Callable[[str, str], None],
    monkeypatch: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["plot", "--list"]) == 0
    golden(f"plot-list-{columns}.txt", capsys.readouterr().out)


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plot", "--help"]) == 0
    assert "condcli plot depth " in capsys.readouterr().out.split("╯")[-1]


def test_the_list_has_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plot", "--list", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"] == "plot --list"
    assert {row["kind"]: row["of"] for row in found["rows"]} == {
        kind: "runs" if kind in RUN_KINDS else "files" for kind in KINDS
    }


@pytest.mark.parametrize(
    ("kind", "form"), [("domination", "png"), ("run-neurons", "svg"), ("neurons", "pdf")]
)
def test_a_picture_is_written_and_named(
    kind: str, form: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "run" if kind in RUN_KINDS else "net.h5"
    assert run(["plot", kind, source, "-o", f"a.{form}", "--dpi", "40"]) == 0
    assert capsys.readouterr().out == f"a.{form}: {KINDS[kind]}\n"
    assert Path(f"a.{form}").read_bytes().startswith(HEADS[form])


def test_the_name_is_that_of_the_kind_and_quiet_says_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-q", "plot", "domination", "net.h5", "--dpi", "30", "--label", "the net"]) == 0
    assert capsys.readouterr().out == ""
    with Image.open("domination.png") as image:
        assert image.width == 216
        said = image.text["Description"]
    assert said.startswith("condcli plot domination: net.pt (mlp) on digits · 100 examples")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("plot", "no KIND is given; choose from depth, spectra"),
        ("plot heat net.h5", "there is no KIND 'heat'; choose from depth"),
        ("plot depth", "no statistics file is given"),
        ("plot depth net.h5 -o a.jpg", "a.jpg has the ending of no picture"),
        ("plot depth net.h5 --percent 0", "--percent 0 is out of range"),
        ("plot depth net.h5 --percent nan", "--percent nan is out of range"),
        ("plot domination net.h5 --threshold inf", "--threshold inf is not positive"),
        ("plot depth net.h5 --label a --label b", "2 labels are given for 1 files"),
        ("plot depth net.h5 --layers conv*", "no layer of net.h5 matches 'conv*'"),
        ("plot matrices net.h5 net.h5", "matrices shows one file, not 2"),
        ("plot depth run", "run is a folder; name a file in it, or choose a KIND run-…"),
        ("plot depth net.h5 --dpi 5", "Invalid value for '--dpi'"),
    ],
)
def test_wrong_usage_exits_2(
    line: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, line, 2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("plot depth nowhere.h5", "nowhere.h5: cannot be opened"),
        ("plot run-fisher empty", "empty holds no statistics file"),
        ("plot run-fisher nowhere.h5", "nowhere.h5: cannot be opened"),
        ("plot depth none.h5", "none.h5: there is no layer in it to plot; plot a file with layers"),
        ("plot activity bare.h5", "bare.h5: there is no activation in it to plot"),
        ("plot depth nan.h5", "nan.h5: layer 'fc': its input moment holds NaN"),
        ("plot depth cut.h5", "cut.h5: the statistics file is truncated or damaged"),
    ],
)
def test_bad_input_exits_3(
    line: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    write(stats(), Path("none.h5"))
    write(stats(layer()), Path("bare.h5"))
    write(stats(layer("fc", np.full((2, 2), np.nan))), Path("nan.h5"))
    Path("cut.h5").write_bytes(Path("net.h5").read_bytes()[:3000])
    assert said in refused(capsys, line, 3)


def test_what_is_there_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("depth.png").write_text("mine")
    assert "already exists; pass --force" in refused(capsys, "plot depth net.h5", 5)
    assert "no folder" in refused(capsys, "plot depth net.h5 -o no/a.png", 5)
    Path("net.png").write_bytes(Path("net.h5").read_bytes())
    line = "plot depth net.png -o net.png --force"
    assert "net.png: is also an input" in refused(capsys, line, 5)
    assert Path("depth.png").read_text() == "mine"


def test_without_matplotlib_the_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refused(capsys, "plot depth net.h5", 2)
    assert "needs the library matplotlib; install it: pip install 'condcli[plot]'" in said


def test_no_torch_no_display_and_no_setting_of_the_user_matter(folder: Path) -> None:
    program = (
        "import sys; from condcli.cli import run; code = run(sys.argv[1:]);"
        "sys.exit(code or 9 * ('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules))"
    )
    Path("matplotlibrc").write_text("backend: nonsense\nfont.size: huge\ntext.usetex: true\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "nonsense"}
    environment.pop("DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-c", program, "plot", "domination", "net.h5", "--dpi", "30"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_settings_that_stop_matplotlib_are_named(folder: Path) -> None:
    Path("matplotlibrc").write_bytes(b"font.size: \xff")
    done = subprocess.run(
        [sys.executable, "-m", "condcli", "plot", "domination", "net.h5"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "look at the settings in matplotlibrc" in done.stderr
    assert done.stderr.count("\n") == 1


def test_names_from_files_do_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "$x",
        "a$b$",
        "\x1b[31m",
        "_under",
        "\u202e",
        "\u4e2d\u6587",
        "y" * 10_000,
        r"$\frac{$",
    )
    write(stats(*(layer(name, order=k) for k, name in enumerate(names))), Path("odd.h5"))
    assert run(["plot", "domination", "odd.h5", "--dpi", "30", "--label", "_$x$"]) == 0
    assert capsys.readouterr().err == ""


def test_hard_layers_are_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(hard_network(), Path("hard.h5"))
    assert run(["plot", "depth", "hard.h5", "net.h5", "--dpi", "30"]) == 0
    assert capsys.readouterr().err == ""

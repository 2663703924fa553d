"""Odd names, terminals and environments: every command shows its result, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from condcli.cli import run
from condcli.models import ZOO, write_checkpoint
from condcli.statsfile import read, write
from tests.synthetic import activation, layer, stats

ROOT = Path(__file__).parents[2]
READING = ("diagnose", "spectrum", "domination", "neurons", "dynamics", "inspect", "verify")
FORMATS = ("table", "json", "csv", "markdown")
NAMES = (
    "[/bold][red]x",
    "\x1b[31mred\x1b[0m\x07",
    "a/b//c/../d",
    "/",
    ".",
    "..",
    "nul\0nul",
    "nul",
    "y" * 70_000,
    "\u202eright\u2066left\u200b",
    "line\nline\r\ttab\x85\u2028",
    "|a|`b`<c>&amp;*d*",
    "=1+2",
    "-h",
    "éλ☃\U0001f600",
    "\udcff",
    "",
)
ARGS = {"inputs": 64, "classes": 10, "depth": 2, "width": 4}
PROBE = ("probe", "--data", "digits", "--samples", "20")


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Statistics in which layers, activations and what is skipped have such names."""
    file = tmp_path_factory.mktemp("names") / "stats.h5"
    layers = [
        layer(name, order=order, rows=100, input_rows=100) for order, name in enumerate(NAMES)
    ]
    calls = tuple(activation(name, order=order) for order, name in enumerate(NAMES))
    parameters = sum(each.parameters for each in layers)
    write(stats(*layers, activations=calls, parameters=parameters), file)
    return file


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("command", READING)
def test_any_name_is_shown_in_one_row_and_nothing_of_it_acts(
    command: str, form: str, odd_names: Path, capsys: Any
) -> None:
    assert run([command, str(odd_names), "--format", form]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert all(line.isprintable() for line in printed.out.split("\n"))
    if command in ("verify", "diagnose") and form != "table":  # where all holds, nothing is named
        return
    if form == "json":
        rows = json.loads(printed.out)["rows"]
        assert {text for row in rows for text in row.values() if isinstance(text, str)} >= {*NAMES}
    elif form == "csv":
        lines = list(csv.reader(io.StringIO(printed.out)))
        assert len(lines) > len(NAMES)
        assert {len(line) for line in lines} == {len(lines[0])}
    elif form == "table":
        assert max(map(len, printed.out.split("\n"))) <= 80


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_name_that_is_wrong_is_named_in_one_line(
    name: str, tmp_path: Path, capsys: Any
) -> None:
    file = tmp_path / "stats.h5"
    write(stats(layer(name, grad_mean=np.full(2, np.nan)), layer("head", order=1)), file)
    assert run(["--debug", "verify", str(file)]) == 3
    lines = capsys.readouterr().err.split("\n")
    assert all(line.isprintable() for line in lines)
    assert lines[-2].startswith("condcli: error: ")
    assert len(lines[-2]) <= 2100


@pytest.mark.parametrize("columns", ["1", "20", "33", "10000", "-5", "x", ""])
@pytest.mark.parametrize("command", [*READING, "arch list", "data list", "--help", "probe --help"])
def test_any_width_will_do(
    command: str, columns: str, odd_names: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    arguments = command.split()
    assert (
        run(arguments if len(arguments) > 1 or command == "--help" else [command, str(odd_names)])
        == 0
    )
    printed = capsys.readouterr()
    assert printed.out
    assert "\x1b" not in printed.out


def test_a_network_of_one_weight_goes_all_the_way(tmp_path: Path, capsys: Any) -> None:
    torch.save(nn.Linear(1, 1, bias=False).state_dict(), tmp_path / "one.pt")
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net(): return nn.Linear(1, 1, bias=False)\n"
    )
    np.savez(tmp_path / "x.npz", x=np.ones((3, 1), np.float32), y=np.ones((3, 1), np.float32))
    out = tmp_path / "stats.h5"
    arguments = ["probe", tmp_path / "one.pt", "--arch", f"{tmp_path / 'net.py'}:net"]
    assert run([*map(str, [*arguments, "--data", tmp_path / "x.npz", "-o", out])]) == 0
    assert [*read(out).layers] == [""] or len(read(out).layers) == 1
    shown_by_every_command(out, capsys)


def test_statistics_without_a_layer_are_shown_too(tmp_path: Path, capsys: Any) -> None:
    write(stats(parameters=0), tmp_path / "stats.h5")
    shown_by_every_command(tmp_path / "stats.h5", capsys)


def test_many_layers_are_probed_and_shown(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "deep.py").write_text(
        "from torch import nn\n"
        "def net(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 2),"
        " *(nn.Linear(2, 2) for _ in range(118)), nn.Linear(2, 10))\n"
    )
    chain = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 2), *(nn.Linear(2, 2) for _ in range(118)), nn.Linear(2, 10)
    )
    torch.save(chain.state_dict(), tmp_path / "deep.pt")
    out = tmp_path / "stats.h5"
    arguments = [*PROBE, tmp_path / "deep.pt", "--arch", f"{tmp_path / 'deep.py'}:net", "-o", out]
    assert run([*map(str, arguments)]) == 0
    assert len(read(out).layers) == 120
    capsys.readouterr()
    assert run(["spectrum", str(out), "--format", "csv"]) == 0
    assert capsys.readouterr().out.count("\n") == 121


def shown_by_every_command(file: Path, capsys: Any) -> None:
    capsys.readouterr()
    for command in READING:
        for form in FORMATS:
            assert run([command, str(file), "--format", form]) == 0, (command, form)
            printed = capsys.readouterr()
            assert printed.out
            assert printed.err == ""


FILES = (
    "with spaces and 'quotes'.pt",
    "--force.pt",
    os.fsdecode(b"\xff\xfe.pt"),  # no UTF-8
    "\x1b[31mred\nline.pt",
    "[red]*é:λ$HOME.pt",
    "n" * 248 + ".pt",
)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_any_file_name_will_do(
    name: str, several: bool, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "m.pt", ZOO["mlp"](**ARGS).state_dict(), arch="mlp", arch_args=ARGS)
    os.rename("m.pt", name)
    output = name.removesuffix(".pt") + ".h5"
    place = [] if several else ["-o", output]
    if several:
        (tmp_path / "run").mkdir()
        place, output = ["-o", "run"], f"run/{output}"
    assert run([*PROBE, *place, "--", name]) == 0, capsys.readouterr()
    for command in READING:
        assert run([command, "--", output]) == 0
    assert read(tmp_path / output).provenance.model_source.encode("utf-8", "backslashreplace")
    printed = capsys.readouterr()
    assert all(line.isprintable() for line in (printed.out + printed.err).split("\n"))
    capsys.readouterr()
    assert run([*PROBE, *place, "--", name]) == 5
    assert run(["inspect", "--", name]) == 0


ENVIRONMENTS = {
    "HDF5": {
        "HDF5_DRIVER": "x",
        "HDF5_VOL_CONNECTOR": "x",
        "HDF5_PLUGIN_PATH": "/nowhere",
        "HDF5_USE_FILE_LOCKING": "x",
    },
    "threads": {
        "OMP_NUM_THREADS": "many",
        "OPENBLAS_NUM_THREADS": "-3",
        "MKL_NUM_THREADS": "",
        "KMP_AFFINITY": "x",
    },
    "torch": {
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        "TORCH_SHOW_CPP_STACKTRACES": "1",
        "TORCH_HOME": "/nowhere",
        "CUDA_VISIBLE_DEVICES": "x",
    },
    "Python": {
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "1",
    },
    "encoding": {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii:strict",
    },
    "places": {"TMPDIR": "/nowhere", "HOME": "/nowhere", "XDG_CACHE_HOME": "/dev/null"},
    "terminal": {
        "TERM": "dumb",
        "COLUMNS": "20",
        "LINES": "x",
        "FORCE_COLOR": "1",
        "TTY_COMPATIBLE": "1",
    },
}


@pytest.fixture(scope="module")
def spectrum(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[int, str, str]]:
    """A folder with statistics, and what `condcli spectrum` says of them in plain surroundings."""
    folder = tmp_path_factory.mktemp("plain")
    write(stats(layer("fc1"), layer("fc2", order=1)), folder / "stats.h5")
    return folder, started(folder, {}, "spectrum", "stats.h5", "--format", "csv")


@pytest.mark.parametrize("of", ENVIRONMENTS)
def test_a_hostile_environment_changes_no_result(
    of: str, spectrum: tuple[Path, tuple[int, str, str]]
) -> None:
    folder, plain = spectrum
    assert plain[0] == 0
    assert started(folder, ENVIRONMENTS[of], "spectrum", "stats.h5", "--format", "csv") == plain


def test_no_hostile_environment_stops_a_probe(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m.pt", ZOO["mlp"](**ARGS).state_dict(), arch="mlp", arch_args=ARGS)
    everything = {name: value for of in ENVIRONMENTS.values() for name, value in of.items()}
    code, out, err = started(tmp_path, everything, *PROBE, "m.pt")
    assert code == 0, err
    assert "linear maps" in " ".join(out.split())
    assert "rror" not in err
    assert sorted(os.listdir(tmp_path)) == ["m.pt", "stats.h5"]
    assert len(read(tmp_path / "stats.h5").layers) == 2


def started(folder: Path, environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command in a process of its own, without a terminal."""
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "condcli", *arguments],
        cwd=folder,
        env=plain | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout, done.stderr

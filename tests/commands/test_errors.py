"""Every failure is one line on stderr, nothing on stdout, and its own exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from condcli import __version__, statsfile
from condcli.cli import run
from condcli.errors import CannotFinishError, CondcliError, InputError, UnsafeError, UsageError
from condcli.statsfile import write
from tests.synthetic import layer, stats

ROOT = Path(__file__).parents[2]


def condcli(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "condcli", *arguments],
        env=environment,
        text=True,
        check=False,
        **{"capture_output": True, **options},
    )


def fails(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> str:
    """The one line that a failing command prints."""
    assert run(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("condcli: error: ")
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("condcli: error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("spectrum", "Missing argument 'FILE'; see condcli spectrum --help"),
        ("spectrum --colour stats.h5", "No such option: --colour"),
        ("spectrum stats.h5 --format xml", "Invalid value for '--format'"),
        ("sepctrum stats.h5", "No such command 'sepctrum'"),
        (
            "spectrum stats.h5 --percent 100,many",
            "--percent '100,many' is no list of numbers; pass",
        ),
        ("spectrum stats.h5 --percent 0", "percentage 0 is out of range; choose from above 0"),
        (
            "spectrum stats.h5 --layers nowhere*",
            "no layer matches 'nowhere*'; the layers are named",
        ),
        (
            "spectrum stats.h5 --sort size",
            "there is no column 'size' here; choose from layer, kind",
        ),
        ("spectrum stats.h5 --fail-on kappa", "'kappa' is no condition; kappa is a number"),
        ("domination stats.h5 --threshold 0", "the threshold 0 is not positive; pass a number"),
        ("domination stats.h5 --lr -1", "the learning rate -1 is not positive"),
        ("neurons stats.h5 --fail-on dead>3", "there is no column 'dead' here; choose from units"),
    ],
)
def test_wrong_usage_exits_2(
    arguments: str, line: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails(capsys, arguments.split(), 2).startswith(line)


@pytest.mark.parametrize(
    "command", ["diagnose", "spectrum", "domination", "neurons", "dynamics", "inspect", "verify"]
)
def test_a_missing_file_exits_3(command: str, file: Path, capsys: Any) -> None:
    line = fails(capsys, [command, "nowhere.h5"], 3)
    assert line == "nowhere.h5: cannot be opened (No such file or directory); check the path"


@pytest.mark.parametrize("command", ["spectrum", "domination", "neurons", "dynamics"])
def test_a_checkpoint_in_place_of_statistics_exits_3(command: str, file: Path, capsys: Any) -> None:
    Path("model.pt").write_bytes(b"PK\x03\x04")
    line = fails(capsys, [command, "model.pt"], 3)
    assert line.startswith("model.pt: is not a statistics file (it is not HDF5); pass a file that")


@pytest.mark.parametrize(
    "command", ["diagnose", "spectrum", "domination", "neurons", "dynamics", "inspect", "verify"]
)
def test_a_truncated_file_exits_3(command: str, file: Path, capsys: Any) -> None:
    os.truncate(file, file.stat().st_size // 2)
    line = fails(capsys, [command, str(file)], 3)
    assert line.startswith("stats.h5: the statistics file is truncated or damaged; copy it anew")


def test_a_foreign_hdf5_file_exits_3_also_for_inspect(file: Path, capsys: Any) -> None:
    with h5py.File("keras.h5", "w") as foreign:
        foreign.attrs["keras_version"] = "3"
    assert "not one of condcli's" in fails(capsys, ["inspect", "keras.h5"], 3)


def test_a_nan_exits_3_and_names_file_and_layer(file: Path, capsys: Any) -> None:
    write(stats(layer("fc7", np.full((2, 2), np.nan))), file, force=True)
    line = fails(capsys, ["spectrum", str(file)], 3)
    assert line.startswith("stats.h5: layer 'fc7': its input moment holds NaN or infinity; ")


class Panic(BaseException):
    """As libraries in Rust raise it."""


class Mute(Exception):
    """Fails once more when it is asked what is wrong."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("what", "do"), 2, "what; do"),
        (InputError("what\nmore\x1b[31m", "do"), 3, "what more\\x1b[31m; do"),
        (UnsafeError("what", "do"), 4, "what; do"),
        (CannotFinishError("what", "do"), 5, "what; do"),
        (CondcliError("what", "do"), 3, "what; do"),
        (MemoryError(), 5, "memory is too short; "),
        (RuntimeError("CUDA out of memory. Tried to allocate"), 5, "memory is too short; "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 5, "memory is too short; "),
        (OSError(errno.ENOSPC, "No space left on device", "x.h5"), 5, "x.h5: No space left on"),
        (OSError(errno.EMFILE, "Too many open files"), 5, "Too many open files; make room"),
        (OSError(errno.ENOENT, "No such file or directory", "y.npz"), 3, "y.npz: No such file"),
        (OSError(errno.EIO, "Input/output error"), 3, "Input/output error; see that it stays"),
        (ImportError("libx.so: failed to map segment from shared object"), 5, "memory is too"),
        (RuntimeError("could not create a primitive"), 5, "memory is too short; "),
        (Panic("index out of bounds"), 70, "a bug in condcli (Panic: index out of bounds)"),
        (Mute(), 70, "a bug in condcli (Mute: )"),
        (RuntimeError("odd\ntext"), 70, "a bug in condcli (RuntimeError: odd text); run condcli"),
        (OSError("no errno"), 70, "a bug in condcli (OSError: no errno)"),
        (SystemExit(3), 70, "a bug in condcli (SystemExit: 3)"),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    error: BaseException, code: int, line: str, file: Path, monkeypatch: Any, capsys: Any
) -> None:
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr(statsfile, "read", fail)
    assert fails(capsys, ["spectrum", str(file)], code).startswith(line)


def test_debug_adds_the_traceback_and_keeps_the_exit_code(
    file: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(statsfile, "read", lambda path: 1 / 0)
    assert run(["--debug", "spectrum", str(file)]) == 70
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Traceback (most recent call last):")
    assert printed.err.splitlines()[-1].startswith("condcli: error: a bug in condcli (ZeroDivision")


def test_a_traceback_shows_names_as_tables_do(file: Path, monkeypatch: Any, capsys: Any) -> None:
    def fail(path: Path) -> None:
        raise InputError("layer \x1b[31mred\x07", "look")

    monkeypatch.setattr(statsfile, "read", fail)
    assert run(["--debug", "spectrum", str(file)]) == 3
    shown = capsys.readouterr().err
    assert r"layer \x1b[31mred\x07" in shown
    assert all(line.isprintable() for line in shown.splitlines())


def test_a_long_line_keeps_its_begin_and_its_remedy(
    file: Path, monkeypatch: Any, capsys: Any
) -> None:
    def fail(path: Path) -> None:
        raise InputError("x.pt: layers " + 10 * ("y" * 70_000), "pass --arch")

    monkeypatch.setattr(statsfile, "read", fail)
    line = fails(capsys, ["spectrum", str(file)], 3)
    assert len(line) < 2100
    assert line.startswith("x.pt: layers yyy")
    assert line.endswith("yyy; pass --arch")


def test_ctrl_c_exits_130(file: Path, monkeypatch: Any, capsys: Any) -> None:
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(statsfile, "read", interrupt)
    assert run(["spectrum", str(file)]) == 130
    assert capsys.readouterr().err == "condcli: interrupted\n"


def test_a_terminated_run_cleans_up_and_exits_143(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, condcli.statsfile as statsfile\n"
        "from condcli.entry import main\n"
        "def read(path):\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally: print('cleaned up')\n"
        "statsfile.read = read\n"
        "sys.argv[1:] = ['spectrum', 'x']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "cleaned up\n", "")


def test_a_reader_that_has_gone_is_no_error_and_gates_still_count(file: Path) -> None:
    for arguments, code in (
        (["spectrum", str(file)], 0),
        (["neurons", str(file), "--fail-on", "full>0"], 1),
        (["--help"], 0),
        (["--version"], 0),
    ):
        read_end, write_end = os.pipe()
        os.close(read_end)
        with os.fdopen(write_end) as stdout:
            done = condcli(*arguments, capture_output=False, stdout=stdout, stderr=-1)
        assert done.returncode == code, arguments
        assert "rror" not in done.stderr


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 3)])
def test_a_closed_stream_is_no_bug(file: Path, closed: str, code: int) -> None:
    target = file if code == 0 else file.with_name("absent.h5")
    line = f'"{sys.executable}" -m condcli spectrum "{target}" {closed}'
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_exits_5(file: Path) -> None:
    with open("/dev/full", "w") as full:
        done = condcli("spectrum", str(file), capture_output=False, stdout=full, stderr=-1)
    assert done.returncode == 5
    assert done.stderr.startswith("condcli: error: No space left on device")


def test_version_and_help_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"condcli {__version__}\n"
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("probe", "spectrum", "domination", "neurons", "inspect"))


def test_without_a_command_the_help_is_shown_and_usage_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([]) == 2
    assert "Usage: condcli" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", ["diagnose", "spectrum", "domination", "neurons", "dynamics", "inspect", "verify"]
)
def test_every_command_shows_help_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    assert f"condcli {command} " in capsys.readouterr().out.split("╯")[-1]

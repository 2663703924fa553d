"""Several checkpoints in one call: each has its file, and a bad one does not stop the others."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import condcli
from condcli import data, series, statsfile
from condcli.cli import run
from condcli.errors import Terminated
from condcli.models import ZOO, write_checkpoint

ARGS = {"inputs": 64, "classes": 10, "depth": 2, "width": 6}
OPTIONS = ["--data", "digits", "--samples", "20"]


class Run(NamedTuple):
    code: int
    out: list[str]
    err: list[str]


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: Any, capsys: Any) -> Callable[..., Run]:
    """`condcli probe` in an empty folder, on few digits."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Run:
        code = run(["probe", *OPTIONS, *map(str, arguments)])
        printed = capsys.readouterr()
        assert not list(tmp_path.glob("**/*.tmp"))
        return Run(code, printed.out.splitlines(), printed.err.splitlines())

    return call


def saved(path: Path | str, seed: int = 0, **words: Any) -> Path:
    torch.manual_seed(seed)
    path = Path(path)
    path.parent.mkdir(exist_ok=True)
    write_checkpoint(path, ZOO["mlp"](**ARGS).state_dict(), arch="mlp", arch_args=ARGS, **words)
    return path


def error_of(result: Run) -> str:
    """The one error line, the last."""
    assert [line.startswith("condcli: error: ") for line in result.err].count(True) == 1
    assert result.err[-1].startswith("condcli: error: ")
    return result.err[-1]


def test_bad_checkpoints_do_not_stop_the_others(probe: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "ckpts").mkdir()
    models = [saved(f"ckpts/{n:02}.pt", n, step=n) for n in range(60)]
    models[7].write_bytes(b"")
    torch.save({"x": torch.full((2, 2), float("nan"))}, models[30])
    torch.save(torch.nn.Linear(2, 2), models[31])  # a pickled module: exit 4, later than the first
    result = probe(*models, "-o", "run")
    assert result.code == 3
    line = error_of(result)
    assert "3 of 60 checkpoints could not be probed: ckpts/07.pt, ckpts/30.pt, ckpts/31.pt;" in line
    failed = [line for line in result.err if line.startswith("condcli: failed: ")]
    assert [model in line for model, line in zip(("07", "30", "31"), failed, strict=True)]
    assert len(result.out) == 57
    assert result.out[7].startswith("run/08.h5: cross-entropy ")
    good = [model for number, model in enumerate(models) if number not in (7, 30, 31)]
    assert sorted(path.stem for path in Path("run").iterdir()) == [model.stem for model in good]
    for model in (good[0], good[-1]):
        stats = statsfile.read(Path("run") / f"{model.stem}.h5")
        assert stats.provenance.step == int(model.stem)
        assert stats.provenance.model_source == str(model)
        alone = condcli.probe(model, "digits", samples=20)
        assert stats.provenance.loss == alone.provenance.loss
        assert stats.provenance.data_sha256 == alone.provenance.data_sha256


def test_the_first_failure_sets_the_exit_code(probe: Callable[..., Run]) -> None:
    torch.save(torch.nn.Linear(2, 2), "a.pt")
    assert probe("a.pt", "absent.pt", saved("c.pt"), "-o", "run").code == 4


def test_a_remark_that_holds_for_all_is_made_once(probe: Callable[..., Run]) -> None:
    for name in ("a.pt", "b.pt"):
        state = {f"module.{key}": value for key, value in ZOO["mlp"](**ARGS).state_dict().items()}
        torch.save(state, name)
    result = probe("a.pt", "b.pt", "-o", "run")
    assert result.code == 0
    (note,) = [line for line in result.err if "prefix module." in line]
    assert note.startswith("condcli: a.pt: note: ")


def test_two_that_would_have_the_same_file_are_refused(probe: Callable[..., Run]) -> None:
    a, b = saved("a/m.pt"), saved("b/m.pt")
    result = probe(a, b, "-o", "run")
    assert (result.code, result.out) == (2, [])
    assert "a/m.pt and b/m.pt would both be written to run/m.h5; probe them" in error_of(result)
    assert not Path("run").exists()
    assert probe(a, a, "-o", "run").code == 2


def test_an_output_that_exists_is_found_before_anything_is_probed(
    probe: Callable[..., Run],
) -> None:
    a, b = saved("a.pt"), saved("b.pt")
    Path("run").mkdir()
    Path("run/b.h5").write_text("mine")
    result = probe(a, b, "-o", "run")
    assert result.code == 5
    assert "run/b.h5: already exists; pass --force" in error_of(result)
    assert [path.name for path in Path("run").iterdir()] == ["b.h5"]
    assert probe(a, b, "-o", "run", "--force").code == 0
    assert {*Path("run").iterdir()} == {Path("run/a.h5"), Path("run/b.h5")}


def test_a_checkpoint_among_the_outputs_is_not_replaced(probe: Callable[..., Run]) -> None:
    saved("run/a.h5")
    result = probe("run/a.h5", saved("b.pt"), "-o", "run", "--force")
    assert result.code == 5
    assert "run/a.h5: is also an input" in error_of(result)


@pytest.mark.parametrize(
    ("output", "code", "words"),
    [
        ([], 2, "name it with -o FOLDER"),
        (["-o", "nowhere/run"], 5, "nowhere/run: the folder for the statistics cannot be made"),
        (["-o", "a.pt"], 5, "a.pt: the folder for the statistics cannot be made"),
    ],
)
def test_the_folder_must_be_named_and_possible(
    output: list[str], code: int, words: str, probe: Callable[..., Run]
) -> None:
    result = probe(saved("a.pt"), saved("b.pt"), *output)
    assert result.code == code
    assert words in error_of(result)


@pytest.mark.parametrize("output", ["run/", "there"])
def test_one_checkpoint_goes_into_a_folder_too(output: str, probe: Callable[..., Run]) -> None:
    Path("there").mkdir()
    assert probe(saved("epoch_3.pt"), "-o", output).code == 0
    assert Path(output, "epoch_3.h5").is_file()


def test_a_file_loses_its_ending_and_a_folder_keeps_its_name(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "step.10" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "step.10" / "in")
    models = [Path("a.b.pt"), Path("c"), Path(".."), Path()]
    files = series.files_in(Path("run"), models)
    assert [path.name for path in files.values()] == ["a.b.h5", "c.h5", "step.10.h5", "in.h5"]


def test_data_and_code_are_opened_once(probe: Callable[..., Run], monkeypatch: Any) -> None:
    opened = []
    original = data.open_data
    monkeypatch.setattr(data, "open_data", lambda *a, **k: opened.append(k) or original(*a, **k))
    Path("net.py").write_text(
        "from torch import nn\n"
        "print('ran')\n"
        "def net(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    for number in range(4):
        torch.save(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).state_dict(),
                   f"{number}.pt")  # fmt: skip
    models = [f"{number}.pt" for number in range(4)]
    result = probe(*models, "--arch", "net.py:net", "-o", "run")
    assert result.code == 0
    assert len(opened) == 1
    assert result.err.count("ran") == 1


def test_each_normalisation_is_opened_once(probe: Callable[..., Run]) -> None:
    words = [None, "0.5/0.25", None, "0.5/0.25"]
    models = [saved(f"{n}.pt", normalize=word) for n, word in enumerate(words)]
    assert probe(*models, "-o", "run").code == 0
    found = [statsfile.read(Path(f"run/{n}.h5")).provenance.normalize for n in range(4)]
    assert found[1] == found[3] == "mean 0.5, std 0.25"
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--data", "absent.npz"], 3), (["--split", "nowhere"], 2), (["--samples", "no"], 2)],
)
def test_what_is_wrong_for_all_is_said_once(
    options: list[str], code: int, probe: Callable[..., Run]
) -> None:
    result = probe(saved("a.pt"), saved("b.pt"), "-o", "run", *options)
    assert result.code == code
    assert result.out == []
    error_of(result)
    assert len(result.err) == 1
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [(OSError(errno.ENOSPC, "No space left on device"), 5), (KeyboardInterrupt(), 130)],
)
def test_full_disks_and_signals_stop_all(
    error: BaseException, code: int, probe: Callable[..., Run], monkeypatch: Any
) -> None:
    write, written = statsfile.write, []

    def failing(stats: Any, path: Path, **options: Any) -> None:
        if written:
            raise error
        written.append(path)
        write(stats, path, **options)

    monkeypatch.setattr(statsfile, "write", failing)
    models = [saved(f"{name}.pt") for name in "abc"]
    assert probe(*models, "-o", "run").code == code
    assert [path.name for path in Path("run").iterdir()] == ["a.h5"]
    assert not issubclass(Terminated, Exception)  # nor does it fall under what a series passes over


def test_torchrun_is_for_one_checkpoint(probe: Callable[..., Run], monkeypatch: Any) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = probe(saved("a.pt"), saved("b.pt"), "-o", "run")
    assert result.code == 2
    assert "torchrun" in error_of(result)

"""``condcli probe --resume``: what is done already, several checkpoints, processes of a job."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from condcli.capture.ranks import Ranks
from condcli.cli import run
from condcli.commands.probe import _look_for_state
from condcli.errors import UsageError
from condcli.models import ZOO, write_checkpoint

ARGS = {"inputs": 64, "classes": 10, "depth": 2, "width": 6}


class Run(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Run]:
    """`condcli probe` in an empty folder, on few digits."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Run:
        arguments = ["probe", "--data", "digits", "--samples", "20", *words]
        monkeypatch.setattr(sys, "argv", ["condcli", *arguments])
        return Run(run(arguments), *capsys.readouterr())

    return call


def saved(path: str, seed: int = 0) -> str:
    torch.manual_seed(seed)
    write_checkpoint(path, ZOO["mlp"](**ARGS).state_dict(), arch="mlp", arch_args=ARGS)
    return path


def test_what_is_done_is_left_as_it_is(probe: Callable[..., Run]) -> None:
    model = saved("m.pt")
    assert probe(model, "--resume").code == 0
    before = Path("stats.h5").read_bytes()
    Path("stats.h5.state").write_bytes(b"of a kill after the output was written")
    again = probe(model, "--resume")
    assert (again.code, Path("stats.h5").read_bytes()) == (0, before)
    assert "mlp" in again.out
    assert not Path("stats.h5.state").exists()
    assert probe(model).code == 5


def test_how_often_a_state_was_saved_makes_no_other_run(probe: Callable[..., Run]) -> None:
    model = saved("m.pt")
    assert probe(model, "--save-every", "60").code == 0
    before = Path("stats.h5").read_bytes()
    for words in ([], ["--save-every=0"], ["--save-every", "5"]):
        assert probe(model, "--resume", *words).code == 0
    assert Path("stats.h5").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "name"), [(["--norm", "running"], "command"), ([], "checkpoint")]
)
def test_what_is_done_of_another_run_is_refused(
    words: list[str], name: str, probe: Callable[..., Run]
) -> None:
    assert probe(saved("m.pt")).code == 0
    before = Path("stats.h5").read_bytes()
    refused = probe(saved("m.pt", seed=len(name) - len("command")), "--resume", *words)
    assert (refused.code, refused.out) == (5, "")
    assert f"stats.h5: already exists, of another {name}; pass --force" in refused.err
    assert Path("stats.h5").read_bytes() == before
    assert probe("m.pt", "--resume", "--force", *words).code == 0


def test_what_is_done_of_data_that_have_changed_is_refused(
    probe: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = np.random.default_rng(0).random((30, 64), np.float32), np.arange(30) % 10
    np.savez("x.npz", x=x, y=y)
    names = [saved(f"{name}.pt", seed) for seed, name in enumerate("ab")]
    words = [*names, "--data", "x.npz", "-o", "run"]
    assert probe(*words).code == 0
    before = {file: file.read_bytes() for file in Path("run").iterdir()}

    reads = []
    module = import_module("condcli.capture.measure")
    real = module.data_seen
    monkeypatch.setattr(module, "data_seen", lambda *of: reads.append(of) or real(*of))
    assert probe(*words, "--resume").code == 0
    assert len(reads) == 1  # for both

    x[y == 3] += 1e-6
    np.savez("x.npz", x=x, y=y)
    refused = probe(*words, "--resume")
    assert (refused.code, refused.out) == (5, "")
    assert "run/a.h5: already exists, of other data; pass --force" in refused.err
    assert {file: file.read_bytes() for file in Path("run").iterdir()} == before


def test_a_series_goes_on_with_what_is_missing(probe: Callable[..., Run]) -> None:
    names = [saved(f"{name}.pt", seed) for seed, name in enumerate("abc")]
    assert probe(*names[:2], "-o", "run").code == 0
    done = {file: file.read_bytes() for file in Path("run").iterdir()}
    again = probe(*names, "-o", "run", "--resume")
    assert again.code == 0, again
    assert [line.partition(":")[0] for line in again.out.splitlines()] == [
        f"run/{name}.h5" for name in "abc"
    ]
    assert {file: file.read_bytes() for file in done} == done
    assert {*Path("run").iterdir()} == {*done, Path("run/c.h5")}


def test_a_file_that_is_no_state_is_not_replaced(probe: Callable[..., Run]) -> None:
    Path("stats.h5.state").write_text("mine")
    for words, code in (([], 5), (["--force"], 5), (["--resume"], 3)):
        refused = probe(saved("m.pt"), *words)
        assert (refused.code, refused.out) == (code, "")
        assert "stats.h5.state: is " in refused.err
        assert Path("stats.h5.state").read_text() == "mine"


def test_processes_of_torchrun_keep_no_state() -> None:
    for resume, every in ((True, None), (False, 10.0)):
        with pytest.raises(UsageError, match="the 2 processes of torchrun keep no state"):
            _look_for_state(Path("stats.h5"), Ranks(0, 2), resume=resume, save_every=every)

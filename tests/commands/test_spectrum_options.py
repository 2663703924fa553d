"""Where the eigenvalues of ``condcli spectrum`` come from: the file, the CPU, or torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from condcli.analysis.spectrum import spectrum
from condcli.capture.eigensolver import eigenvalues_on
from condcli.cli import run
from condcli.commands import workers
from condcli.output.cells import magnitude
from condcli.statsfile import read, write
from tests.synthetic import layer, stats


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["spectrum", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--eigenvalues"], ["--top", "2"], ["--layers", "head"]])
def test_kept_eigenvalues_print_the_same(
    file: Path, options: list[str], monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(file), "--format", "json", *options]
    before = printed(capsys, *command)
    assert printed(capsys, str(file), "--cache")
    monkeypatch.setattr(np.linalg, "eigvalsh", None)
    assert printed(capsys, *command) == before


def test_without_cache_the_file_is_not_touched(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = file.stat(), file.read_bytes()
    printed(capsys, str(file))
    after = file.stat(), file.read_bytes()
    assert (after[0].st_ino, after[0].st_mtime_ns) == (before[0].st_ino, before[0].st_mtime_ns)
    assert after[1] == before[1]


def test_a_file_that_cannot_keep_them_is_refused_before_anything_is_computed(
    file: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: mode == os.R_OK)
    monkeypatch.setattr(np.linalg, "eigvalsh", None)
    assert run(["spectrum", str(file), "--cache"]) == 5
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("condcli: error: stats.h5: cannot keep the eigenvalues")


def test_a_full_disk_prints_an_error_and_no_table(
    file: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    before = file.read_bytes()
    monkeypatch.setattr(os, "fsync", fail)
    assert run(["spectrum", str(file), "--cache"]) == 5
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "run without --cache" in shown.err
    assert file.read_bytes() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_its_device_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["spectrum", str(file), "--device", "cuda"]) == 2
    assert "there is no cuda device here; pass --device cpu" in capsys.readouterr().err


def _assert_alike(file: Path, device: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((40, 300))
    few_rows = layer("few rows", rows.T @ rows / 40, input_rows=40)
    write(stats(*read(file).layers.values(), few_rows), file, force=True)
    here = spectrum(read(file))
    there = spectrum(read(file), solve=lambda m: eigenvalues_on(torch.device(device), m))
    for one, other in zip(here, there, strict=True):
        assert one.lambda_max == pytest.approx(other.lambda_max, rel=1e-12)
        assert (one.rank_input, one.rank_grad) == (other.rank_input, other.rank_grad)
        first, second = (list(map(magnitude, row.kappa.values())) for row in (one, other))
        np.testing.assert_allclose(np.array(first, float), np.array(second, float), rtol=1e-6)


def test_torch_finds_the_same_eigenvalues(file: Path) -> None:
    _assert_alike(file, "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_finds_the_same_eigenvalues(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _assert_alike(file, "cuda")
    assert printed(capsys, str(file), "--device", "cuda").startswith("net.pt")


@pytest.mark.parametrize(
    ("threads", "limited", "expected"), [("1", False, 64), ("4", False, 1), ("1", True, 1)]
)
def test_layers_are_solved_side_by_side_where_blas_has_one_thread_and_memory_no_limit(
    threads: str, limited: bool, expected: int, monkeypatch: Any
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", threads)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr("condcli.commands.is_limited", lambda: limited)
    assert workers() == expected

"""Solvers that fail, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg
import torch
from torch import nn

from condcli.analysis.eigenvalues import spectrum_of
from condcli.analysis.singular_values import singular_values
from condcli.analysis.solvers import EigenSolver
from condcli.analysis.spectrum import spectrum
from condcli.api import probe
from condcli.cli import run
from condcli.errors import InputError
from condcli.statsfile import read, write
from tests.synthetic import diagonal, layer, stats

EPS = float(np.finfo(np.float64).eps)
MATRICES = np.stack([diagonal(6.0, 3.0, 1.0, 1e-3), diagonal(5.0, 5.0, 0.0, 0.0)])


def fail(*_: Any, **__: Any) -> Any:
    raise np.linalg.LinAlgError("did not converge")


def not_a_number(matrix: np.ndarray, *_: Any, **__: Any) -> np.ndarray:
    return np.full(matrix.shape[:-1], np.nan)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Break solvers by name: evd, evr, svd (gesdd), gesvd."""
    places = {
        "evd": (np.linalg, "eigvalsh"),
        "evr": (scipy.linalg, "eigh"),
        "svd": (np.linalg, "svd"),
        "gesvd": (scipy.linalg, "svd"),
    }

    def break_them(*names: str, how: Any = fail) -> None:
        for name in names:
            monkeypatch.setattr(*places[name], how)

    return break_them


@pytest.mark.parametrize("how", [fail, not_a_number])
@pytest.mark.parametrize(
    ("broken_ones", "by"),
    [((), "evd"), (("evd",), "evr"), (("evd", "evr"), "SVD"), (("evd", "evr", "svd"), "SVD")],
)
def test_the_next_solver_finds_the_same_and_is_named(
    broken: Any, broken_ones: tuple[str, ...], by: str, how: Any
) -> None:
    expected = np.linalg.eigvalsh(MATRICES)
    broken(*broken_ones, how=how)
    solver = EigenSolver(how, "layer 'fc'")
    np.testing.assert_allclose(solver(MATRICES), expected, atol=8 * EPS * 6)
    assert solver.note == f"the usual eigen-solver failed; solved by LAPACK's {by}"


def test_the_usual_solver_needs_no_note() -> None:
    solver = EigenSolver(np.linalg.eigvalsh, "layer 'fc'")
    solver(MATRICES)
    assert solver.note is None


def test_where_none_finds_them_the_layer_is_named(broken: Any) -> None:
    broken("evd", "evr", "svd", "gesvd")
    with pytest.raises(InputError, match="layer 'fc': its input moment: no eigen-solver finds"):
        spectrum(stats(layer("fc")), solve=fail)


def test_rows_files_and_tables_tell_which_solver_it_was(
    broken: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "stats.h5")
    write(stats(layer("fc"), layer("head")), path)
    expected = spectrum(read(path))
    broken("evd")
    for options in (["--cache"], [], ["--eigenvalues"], ["--top", "1"]):
        assert run(["spectrum", path, "--layers", "fc", *options]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "note on fc input: the usual eigen-solver failed; solved by LAPACK's evr" in said
        assert "note on head" not in said
    (row,) = spectrum(read(path), layers="fc")
    assert row.lambda_max == pytest.approx(expected[0].lambda_max, rel=1e-14)
    assert row.note.count("LAPACK's evr") == 2


@pytest.mark.parametrize("size", [20, 300])
def test_the_largest_eigenvalues_fall_back_too(broken: Any, size: int) -> None:
    moment = diagonal(*np.linspace(1, 2, size))
    broken("evd", how=fail)
    (row,) = spectrum(stats(layer("fc", moment)), percent=(100,))
    assert row.kappa_input["100"].value == pytest.approx(2)
    found = spectrum_of(moment, rows=1000, eps=EPS, name="x", solve=EigenSolver(fail, "x"))
    assert found.largest == pytest.approx(2)


@pytest.mark.parametrize("shape", [(7, 3), (5, 7, 3), (60, 40), (2, 60, 40)])
def test_singular_values_come_from_the_slower_driver(broken: Any, shape: tuple[int, ...]) -> None:
    matrix = np.random.default_rng(0).standard_normal(shape)
    expected = np.sort(np.linalg.svd(matrix, compute_uv=False), axis=None)[::-1]
    broken("evd", "svd")
    np.testing.assert_allclose(singular_values(matrix), expected, atol=1e-10 * expected[0])
    broken("gesvd")
    with pytest.raises(InputError, match="layer fc: its weight: no solver finds its singular"):
        singular_values(matrix, "layer fc: its weight")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(4, 3), (50, 40), (2, 3, 5)])
def test_lapack_is_given_no_numbers_that_are_not_finite(
    shape: tuple[int, ...], bad: float, capfd: pytest.CaptureFixture[str]
) -> None:
    """It prints of its own accord to stdout, among the results."""
    matrix = np.ones(shape)
    matrix[..., 1, 2] = bad
    found = singular_values(matrix)
    assert np.isnan(found).all()
    assert len(found) == np.prod(shape[:-2], dtype=int) * min(shape[-2:])
    assert capfd.readouterr() == ("", "")


def test_where_lanczos_fails_the_layer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def eigh(matrix: np.ndarray) -> Any:
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    monkeypatch.setattr("numpy.linalg.eigh", eigh)
    found = probe(nn.Linear(6, 3), (torch.randn(50, 6), torch.arange(50) % 3)).layers["weight"]
    assert found.weight_grad_moment_lambda_max is None
    assert found.weight_grad_moment_note == "Lanczos does not converge"

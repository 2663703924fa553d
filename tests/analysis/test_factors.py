"""Spectra of moments that factors stand for, compared with LAPACK's of the moment itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from condcli.analysis.condition import condition_number, kronecker_condition_number
from condcli.analysis.contents import contents
from condcli.analysis.diagnosis import diagnose
from condcli.analysis.eigenvalues import spectrum_of
from condcli.analysis.factors import factor_spectrum_of, stacked
from condcli.analysis.leading import leading_eigenvalues
from condcli.analysis.spectrum import eigenvalues, spectrum
from condcli.analysis.verification import verify
from condcli.cli import run
from condcli.errors import InputError
from condcli.stats import ProbeStats
from condcli.statsfile import read, write
from tests.synthetic import layer, stats, wide

EPS = 2.0**-52


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    """Rows, of which the directions differ in size."""
    rows = np.random.default_rng(seed).standard_normal(shape)
    return rows * np.logspace(0, -2, shape[-1])


def moment(factor: np.ndarray) -> np.ndarray:
    return factor.swapaxes(-1, -2) @ factor


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 6), (3, 5, 9), (300, 700)])
def test_the_gram_matrix_has_the_eigenvalues_of_the_moment(shape: tuple[int, ...]) -> None:
    factor = drawn(*shape)
    found = factor_spectrum_of(factor, 0.0, rows=shape[-2], eps=EPS, name="x")
    expected = spectrum_of(moment(factor), rows=shape[-2], eps=EPS, name="x")
    assert found.values.shape == expected.values.shape
    np.testing.assert_allclose(found.values, expected.values, atol=1e-10 * expected.largest)
    assert np.array_equal(found.ceiling, expected.ceiling)
    assert found.rank == expected.rank
    assert (found.floor <= expected.floor * (1 + 1e-9)).all()
    for percent in (100, 50, 10):
        mine, theirs = (condition_number(each, percent) for each in (found, expected))
        assert mine.value == pytest.approx(theirs.value, rel=1e-6)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_largest_alone_are_the_same(count: int) -> None:
    for factor in (drawn(2, 6, 9), drawn(300, 700)):
        whole = factor_spectrum_of(factor, 0.5, rows=9, eps=EPS, name="x").values[..., :count]
        some = factor_spectrum_of(factor, 0.5, rows=9, eps=EPS, name="x", count=count)
        np.testing.assert_allclose(some.values, whole, rtol=1e-9, atol=1e-9)


def test_units_that_sum_to_zero_lower_the_rank_ceiling() -> None:
    factor = drawn(8, 5)
    factor -= factor.mean(axis=1, keepdims=True)
    factor = np.hstack([factor, np.zeros((8, 2))])
    assert factor_spectrum_of(factor, 0.0, rows=8, eps=EPS, name="x").rank.ceiling == 4
    assert factor_spectrum_of(factor, 1e-9, rows=8, eps=EPS, name="x").rank.ceiling == 7


@pytest.mark.parametrize("seed", range(20))
def test_a_condition_number_of_a_sketch_is_a_bound_that_holds(seed: int) -> None:
    """Whatever the moment is, as long as it is within the error."""
    source = np.random.default_rng(seed)
    factor, more = drawn(4, 12, seed=seed), source.standard_normal((6, 12))
    error = 10.0 ** source.uniform(-6, 0)
    missing = moment(more) * (error / np.linalg.eigvalsh(moment(more))[-1])
    truth = spectrum_of(moment(factor) + missing, rows=50, eps=EPS, name="x")
    sketch = factor_spectrum_of(factor, error, rows=50, eps=EPS, name="x")
    other = spectrum_of(moment(drawn(7, 3)), rows=50, eps=EPS, name="x")
    assert (truth.values >= sketch.values - 1e-12).all()
    assert (truth.values <= sketch.values + error + 1e-12).all()
    assert (sketch.lower <= truth.values + 1e-12).all()
    assert (truth.values <= sketch.upper + 1e-12).all()
    assert sketch.effective_rank is None
    assert sketch.scaled(3.0).error == pytest.approx(3 * error)
    for percent in (5, 25, 80, 100):
        for mine, theirs in (
            (condition_number(sketch, percent), condition_number(truth, percent)),
            (
                kronecker_condition_number(sketch, other, percent),
                kronecker_condition_number(truth, other, percent),
            ),
        ):
            known = theirs.value if theirs.value is not None else theirs.lower_bound
            assert mine.value is None
            assert mine.lower_bound is not None
            assert mine.lower_bound <= known * (1 + 1e-9)


def test_a_condition_number_beyond_the_rows_is_infinite_of_a_sketch_too() -> None:
    sketch = factor_spectrum_of(drawn(4, 12), 0.1, rows=6, eps=EPS, name="x")
    assert condition_number(sketch, 80).value == math.inf


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_a_factor_that_is_not_finite_is_refused(error: float) -> None:
    with pytest.raises(InputError, match="Σ holds NaN or infinity"):
        factor_spectrum_of(np.full((2, 3), np.inf), error, rows=2, eps=EPS, name="Σ")


@pytest.mark.parametrize("groups", [(), (2,)])
def test_stacked_factors_stand_for_the_weighted_sum(groups: tuple[int, ...]) -> None:
    parts = [drawn(*groups, rows, 30, seed=rows) for rows in (4, 9, 6)]
    weights = [0.2, 0.5, 0.3]
    expected = sum(w * moment(part) for w, part in zip(weights, parts, strict=True))
    found, error = stacked(parts, [0.0] * 3, weights, most=5)
    assert error == 0
    assert found.shape == (*groups, 19, 30)
    np.testing.assert_allclose(moment(found), expected, atol=1e-12)
    found, error = stacked(parts, [0.0, 1e-3, 0.0], weights, most=5)
    assert found.shape == (*groups, 9, 30)
    missing = np.linalg.eigvalsh(expected - moment(found))
    assert missing.min() > -1e-12
    assert 0 < missing.max() <= error - 0.5e-3 + 1e-12


def both() -> ProbeStats:
    """A layer that is exact by its rows, one with a sketch, and a usual one."""
    return stats(
        wide("kept", positions=10.0),
        wide("sketch", error=0.25, order=1, positions=10.0),
        layer("usual", order=2, positions=10.0),
        dtype="float64",
        parameters=14 * 2 + 8,
    )


def test_the_rows_of_the_analyses_say_how_far_they_may_be_off() -> None:
    kept, sketch, usual = spectrum(both())
    assert [row.error_input for row in (kept, sketch, usual)] == [0.0, 0.25, None]
    assert {row.error_grad for row in (kept, sketch, usual)} == {None}
    assert kept.lambda_max_input == pytest.approx(np.linalg.norm(wide().input_factor, 2) ** 2)
    assert sketch.lambda_max_input == kept.lambda_max_input
    assert sketch.kappa_input["50"].lower_bound < kept.kappa_input["50"].value
    errors = {(row.layer, row.error_input) for row in leading_eigenvalues(both(), 2)}
    assert errors == {("kept", 0.0), ("sketch", 0.25), ("usual", None)}
    each = {(row.layer, row.matrix, row.error) for row in eigenvalues(both())}
    assert ("sketch", "input", 0.25) in each
    assert ("sketch", "grad", None) in each
    forms = [row.form for row in contents(both())]
    assert forms == ["Σx: 4 rows", "Σx: sketch", None]


def test_the_error_has_the_scale_of_the_eigenvalues() -> None:
    """In the view channels the reported Σ∇h is T² times the stored one."""
    factor = {
        "grad_moment": None,
        "grad_factor": np.eye(2),
        "grad_error": 0.5,
        "grad_trace": 3.0,
    }
    (row,) = spectrum(stats(replace(layer("fc"), **factor, positions=10.0)))
    assert row.lambda_max_grad == 100.0
    assert row.error_grad == 50.0


@pytest.mark.parametrize("options", [[], ["--eigenvalues"], ["--top", "2"]])
def test_the_tables_say_which_is_which(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(both(), tmp_path / "s.h5")
    assert run(["spectrum", str(tmp_path / "s.h5"), *options]) == 0
    out = capsys.readouterr().out
    assert "±" in out
    assert "0.25" in out
    assert "of a sketch" in out
    write(stats(layer()), tmp_path / "s.h5", force=True)
    assert run(["spectrum", str(tmp_path / "s.h5"), *options]) == 0
    assert "±" not in capsys.readouterr().out


def test_kept_eigenvalues_keep_the_error(tmp_path: Path, capsys: Any) -> None:
    write(both(), tmp_path / "s.h5")
    command = ["spectrum", str(tmp_path / "s.h5"), "--format", "json"]
    assert run(command) == 0
    before = capsys.readouterr().out
    assert run([*command, "--cache"]) == 0
    capsys.readouterr()
    assert run(command) == 0
    assert capsys.readouterr().out == before
    assert verify(read(tmp_path / "s.h5"))


def test_files_with_factors_are_verified(tmp_path: Path) -> None:
    write(both(), tmp_path / "s.h5")
    found = {row.holds: row.examined for row in verify(read(tmp_path / "s.h5"))}
    assert found["positive semi-definite"] == 6
    assert found["means within moments"] == 6
    assert found["symmetric"] == 4


def test_wide_layers_are_diagnosed_by_their_spectra() -> None:
    """What takes the whole moment is left out."""
    assert isinstance(diagnose(both()), list)

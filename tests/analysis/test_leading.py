"""The largest eigenvalues alone are those of the whole spectrum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from condcli.analysis import decomposition
from condcli.analysis.leading import LeadingRow, leading_eigenvalues
from condcli.analysis.spectrum import eigenvalues, spectrum
from condcli.errors import InputError, UsageError
from condcli.stats import LayerStats
from condcli.statsfile import read, write
from tests.synthetic import diagonal, layer, stats

rng = np.random.default_rng(0)
LARGE = rng.standard_normal((900, 300)) * np.linspace(1, 3, 300)
LAYERS = {
    "usual": layer("usual", LARGE.T @ LARGE / 900, diagonal(3.0, 2.0, 1.0)),
    "few rows": layer("few rows", LARGE[:40].T @ LARGE[:40] / 40, input_rows=40),
    "groups": layer(
        "groups",
        np.stack([LARGE[:450].T @ LARGE[:450], LARGE[450:].T @ LARGE[450:]]),
        np.stack([diagonal(1.0, 0.1), diagonal(7.0, 5.0)]),
        positions=4.0,
    ),
    "zero": layer("zero", np.zeros((300, 300)), np.zeros((2, 2))),
    "one": layer("one", np.array([[2.0]]), np.array([[0.0]])),
    "embedding": layer("embedding", rng.dirichlet(np.ones(300)), kind="embedding"),
}


@pytest.mark.parametrize("conv", ["channels", "patches"])
@pytest.mark.parametrize("name", LAYERS)
def test_lambda_max_is_that_of_the_whole_spectrum(name: str, conv: str) -> None:
    measured = stats(LAYERS[name], conv=conv)
    (row,), (whole,) = leading_eigenvalues(measured, 1), spectrum(measured)
    assert (row.layer, row.k, row.d_in, row.d_out) == (name, 1, whole.d_in, whole.d_out)
    assert row.lambda_k_input == pytest.approx(whole.lambda_max_input, rel=1e-10)
    assert row.lambda_k_grad == pytest.approx(whole.lambda_max_grad, rel=1e-10)
    assert row.lambda_k == pytest.approx(whole.lambda_max, rel=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_eigenvalues_of_f_are_those_of_the_kronecker_product(name: str) -> None:
    item = LAYERS[name]
    found = leading_eigenvalues(stats(item, conv="channels"), 4)
    products = np.sort(np.concatenate(list(_products(item))))[::-1][:4]
    assert [row.k for row in found] == list(range(1, len(found) + 1))
    np.testing.assert_allclose(
        [row.lambda_k for row in found if row.lambda_k is not None],
        item.positions**2 * products,
        rtol=1e-9,
        atol=1e-12,
    )


def _products(item: LayerStats) -> list[np.ndarray]:
    x, grad = item.input_moment, item.grad_moment
    if x.ndim == 1:
        x = np.diag(x)
    pairs = zip(x, grad, strict=True) if x.ndim == 3 else [(x, grad)]
    return [np.outer(*map(np.linalg.eigvalsh, pair)).ravel() for pair in pairs]


def test_beyond_the_last_eigenvalue_there_is_none() -> None:
    found = leading_eigenvalues(stats(layer("fc", diagonal(3.0, 2.0, 1.0), diagonal(5.0))), 5)
    values = [(row.k, row.lambda_k_grad, row.lambda_k_input is None) for row in found]
    assert values == [(1, pytest.approx(5), False), (2, None, False), (3, None, False)]


@pytest.mark.parametrize("name", LAYERS)
def test_the_list_of_eigenvalues_is_cut_in_each_group(name: str) -> None:
    measured = stats(LAYERS[name])
    whole = [row for row in eigenvalues(measured) if row.index <= 2]
    cut = eigenvalues(measured, top=2)
    assert len(cut) == len(whole)
    for one, other in zip(cut, whole, strict=True):
        assert (one.matrix, one.group, one.index) == (other.matrix, other.group, other.index)
        assert one.resolved == other.resolved
        assert one.eigenvalue == pytest.approx(other.eigenvalue, rel=1e-9, abs=1e-12)


def test_workers_change_nothing() -> None:
    measured = stats(*LAYERS.values())
    alone, together = leading_eigenvalues(measured, 2), leading_eigenvalues(measured, 2, workers=3)
    assert alone == together
    assert [row.layer for row in spectrum(measured, workers=3)] == list(LAYERS)


def test_as_many_layers_are_solved_at_a_time_as_memory_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(stats(*LAYERS.values()), tmp_path / "stats.h5")
    found = read(tmp_path / "stats.h5")
    largest = 2 * 300 * 300 * 8  # bytes, of the two groups
    expected = leading_eigenvalues(found, 1)
    assert decomposition._room(found, list(LAYERS)) == 1
    monkeypatch.setattr(decomposition, "_SMALL", 0)
    for places in (1, 3, 100):
        monkeypatch.setattr(decomposition, "_MEMORY", 5 * (largest + 10_000) * places)
        assert decomposition._room(found, list(LAYERS)) == min(places, len(LAYERS))
        assert leading_eigenvalues(found, 1, workers=2) == expected


def test_what_is_wrong_with_a_matrix_ends_all_workers() -> None:
    broken = layer("broken", np.full((3, 3), np.nan))
    with pytest.raises(InputError, match="layer 'broken': its input moment holds NaN"):
        leading_eigenvalues(stats(*LAYERS.values(), broken), 1, workers=2)


def test_no_eigenvalues_are_refused() -> None:
    with pytest.raises(UsageError, match="top 0"):
        leading_eigenvalues(stats(), 0)


def test_rows_are_one_a_layer_and_place() -> None:
    found = leading_eigenvalues(stats(layer("a"), layer("b")), 2)
    assert [(row.layer, row.k) for row in found] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert all(isinstance(row, LeadingRow) for row in found)

"""Layers wider than ``max_dim``: kept rows give the exact moment, a sketch one within its bound.

The reference is the same probe with whole moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import condcli
from condcli.analysis.leading import leading_eigenvalues
from condcli.capture.nystrom import columns_of, gaussian, nystrom
from condcli.capture.wide_moment import WideMoment
from condcli.errors import UsageError
from condcli.stats import LayerStats, ProbeStats

from .cases import CASES, CLASSES, Case
from .reference import Batch

SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"
DOUBLE = {"dtype": "float64", "per_example": "none"}


def moment_of(layer: LayerStats, side: str) -> np.ndarray:
    """The stored moment, or FᵀF."""
    moment, factor = getattr(layer, f"{side}_moment"), getattr(layer, f"{side}_factor")
    if moment is not None:
        return np.diag(moment) if moment.ndim == 1 else moment
    return factor.swapaxes(-1, -2).astype(float) @ factor


def sides(stats: ProbeStats) -> Iterator[tuple[str, LayerStats, str]]:
    for name, layer in stats.layers.items():
        yield from ((name, layer, side) for side in ("input", "grad"))


def largest(matrices: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvalsh(matrices)).max())


class Kept(WideMoment):
    """Keeps all rows, however few ``max_dim`` allows."""

    def __init__(self, max_dim: int, *, sketched: bool, **rest: Any) -> None:
        super().__init__(10_000, sketched=False, **rest)


class Sketched(WideMoment):
    """Sketches from the first row on, with more columns than there are features."""

    def __init__(self, max_dim: int, *, sketched: bool, **rest: Any) -> None:
        super().__init__(10_000, sketched=True, **rest)


@pytest.mark.parametrize("form", [Kept, Sketched])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_kind_of_layer_has_the_factor_of_its_moment(
    case: Case, form: type[WideMoment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that are longer than one number; a sketch of more columns than features lacks none."""
    options: dict[str, Any] = {"loss": case.loss, "norm": case.norm, "conv": "patches", **DOUBLE}
    whole = condcli.probe(case.model(), case.batches(), **options)
    monkeypatch.setattr("condcli.capture.layer.WideMoment", form)
    factors = condcli.probe(case.model(), case.batches(), max_dim=1, **options)
    assert list(factors.layers) == list(whole.layers)
    for name, layer, side in sides(whole):
        found, expected = moment_of(factors.layers[name], side), moment_of(layer, side)
        error = getattr(factors.layers[name], f"{side}_error")
        size = largest(expected)
        assert largest(found - expected) <= (error or 0.0) + 1e-13 * size
        if error is not None:
            assert error <= 1e-10 * size
            trace = getattr(factors.layers[name], f"{side}_trace")
            assert trace == pytest.approx(np.trace(expected, axis1=-2, axis2=-1).sum(), rel=1e-12)
        for mean in ("input_mean", "grad_mean"):
            np.testing.assert_allclose(
                getattr(factors.layers[name], mean), getattr(layer, mean), rtol=1e-12, atol=1e-18
            )


DECAYS = {
    "flat": lambda k: np.ones_like(k),
    "slow": lambda k: k**-0.5,
    "fast": lambda k: k**-2.0,
    "steep": lambda k: np.exp(-k),
}
SIZE, COLUMNS, TESTS = 160, 48, 32


@pytest.mark.parametrize("decay", DECAYS.values(), ids=DECAYS)
def test_the_ten_largest_eigenvalues_of_a_sketch_are_within_its_bound(decay: Any) -> None:
    """And below the moment's own; for a hundred matrices of each kind."""
    values = decay(np.arange(1.0, SIZE + 1))
    omega = gaussian(SIZE, COLUMNS + TESTS, torch.float64, torch.device("cpu"))
    for seed in range(100):
        basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))
        matrix = torch.from_numpy(basis * values @ basis.T)
        factor, error = nystrom(matrix @ omega, omega, TESTS, 2.0**-52)
        found = np.linalg.svd(factor.numpy(), compute_uv=False)[:10] ** 2
        missing = values[:10] - found
        assert (missing >= -1e-12).all()
        assert missing.max() <= error + 1e-12
        truth = largest((matrix - factor.T @ factor).numpy())
        assert truth <= error + 1e-12
        assert error <= 12 * truth + 1e-12, "the bound says something"


def test_a_sketch_of_a_real_network_on_real_data_is_within_its_bound() -> None:
    """Twenty layers of 64 units, 1,000 digits; 32 columns."""
    model = SAMPLES / "mlp20_he.pt"
    options: dict[str, Any] = {"samples": 1000, "per_example": "none"}
    whole = leading_eigenvalues(condcli.probe(model, dtype="float64", **options), 10)
    for dtype in ("float64", "float32"):
        sketch = leading_eigenvalues(condcli.probe(model, dtype=dtype, max_dim=32, **options), 10)
        for row, other in zip(whole, sketch, strict=True):
            for side in ("input", "grad"):
                error = getattr(other, f"error_{side}")
                if error is None:
                    continue
                value, found = (getattr(r, f"lambda_k_{side}") for r in (row, other))
                assert error > 0
                assert abs(value - found) <= error, (row.layer, row.k, dtype)


def test_few_rows_give_the_whole_spectrum() -> None:
    """To 1e-10, as the moment's own."""
    net, data = nn.Sequential(nn.Linear(50, 60), nn.Tanh(), nn.Linear(60, CLASSES)), wide_data(30)
    whole = condcli.spectrum(condcli.probe(net, data, **DOUBLE))
    for row, other in zip(
        condcli.eigenvalues(condcli.probe(net, data, **DOUBLE)),
        condcli.eigenvalues(condcli.probe(net, data, max_dim=40, **DOUBLE)),
        strict=True,
    ):
        top = next(r for r in whole if r.layer == row.layer)
        size = top.lambda_max_input if row.matrix == "input" else top.lambda_max_grad
        assert other.eigenvalue == pytest.approx(row.eigenvalue, abs=1e-10 * size)
    for row, other in zip(
        whole, condcli.spectrum(condcli.probe(net, data, max_dim=40, **DOUBLE)), strict=True
    ):
        assert (other.rank_input, other.rank_grad) == (row.rank_input, row.rank_grad)
        assert other.error_input == 0
        for percent, kappa in row.kappa_input.items():
            assert other.kappa_input[percent].value == pytest.approx(kappa.value)


def wide_data(rows: int, features: int = 50, *, batch: int = 7) -> list[Batch]:
    """Batches whose rows have a few strong directions."""
    source = torch.Generator().manual_seed(5)
    strong = torch.randn(4, features, generator=source)
    x = torch.randn(rows, 4, generator=source) @ strong
    x = x + 0.1 * torch.randn(rows, features, generator=source)
    y = torch.randint(CLASSES, (rows,), generator=source)
    return list(zip(x.split(batch), y.split(batch), strict=True))


def linear(features: int = 50) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(features, CLASSES))


def test_rows_are_kept_up_to_max_dim_and_sketched_beyond() -> None:
    for rows, exact in ((30, True), (31, False)):
        layer = condcli.probe(linear(), wide_data(rows), max_dim=30, **DOUBLE).layers["0"]
        assert layer.input_moment is None
        assert layer.input_factor is not None
        assert layer.input_factor.shape == (30, 50)  # the sketch has as many columns
        assert (layer.input_error == 0) == exact
        assert layer.grad_factor is None


def test_what_was_kept_goes_into_the_sketch_when_more_come_than_were_foreseen() -> None:
    """A rehearsal of the first example cannot know how long the others are."""
    rows = torch.randn(1, 40, 50, dtype=torch.float64)
    expected = rows[0].T @ rows[0] / 40
    early, late = (WideMoment(32, sketched=sketched) for sketched in (True, False))
    for part in rows.split(9, dim=1):
        early.take(part)
        late.take(part)
    for moment in (early, late):
        factor = moment.factor()
        assert moment.rows == 40
        missing = expected.numpy() - factor.rows.T @ factor.rows
        assert 0 < largest(missing) <= factor.error
        assert np.linalg.eigvalsh(missing)[0] > -1e-12
    np.testing.assert_allclose(early.factor().rows, late.factor().rows, atol=1e-12)


@pytest.mark.parametrize("power", [-100, -40, 0, 40])
@pytest.mark.parametrize("sketched", [False, True])
def test_rows_of_any_size_are_told(power: int, sketched: bool) -> None:
    """In float32, which their squares may leave."""
    rows = torch.randn(1, 40, 50)
    usual, scaled = (WideMoment(48, sketched=sketched) for _ in range(2))
    usual.take(rows)
    scaled.take(rows * 2.0**power)
    a, b = usual.factor(), scaled.factor()
    np.testing.assert_allclose(b.rows.astype(float) * 2.0**-power, a.rows, rtol=1e-4, atol=1e-5)
    assert b.trace == pytest.approx(a.trace * 4.0**power, rel=1e-6)
    assert b.error == pytest.approx(a.error * 4.0**power, rel=1e-2)


@pytest.mark.parametrize("sketched", [False, True])
def test_rows_of_nothing_but_zeros_are_no_trouble(sketched: bool) -> None:
    moment = WideMoment(4, sketched=sketched)
    moment.take(torch.zeros(1, 3, 9))
    factor = moment.factor()
    assert factor.trace == factor.error == 0
    assert not factor.rows.any()


@pytest.mark.parametrize("sketched", [False, True])
def test_nan_stays_nan_without_a_solver(sketched: bool) -> None:
    moment = WideMoment(4, sketched=sketched)
    rows = torch.randn(1, 3, 9)
    rows[0, 1, 2] = torch.nan
    moment.take(rows)
    assert not moment.is_finite()
    assert np.isnan(moment.factor().rows).any()


def test_layers_that_are_not_finite_are_kept_flagged() -> None:
    net = linear()
    with torch.no_grad():
        net[0].weight[0, 0] = torch.nan
    for rows in (20, 40):
        stats = condcli.probe(net, wide_data(rows), max_dim=30, allow_nonfinite=True, **DOUBLE)
        assert stats.layers["0"].nonfinite
        (row,) = condcli.spectrum(stats)
        assert row.lambda_max_input is not None
        assert row.lambda_max_grad is None


def test_max_dim_is_stored_and_one_below_1_is_refused() -> None:
    assert condcli.probe(linear(), wide_data(5)).provenance.max_dim == 16_384
    assert condcli.probe(linear(), wide_data(5), max_dim=7).provenance.max_dim == 7
    with pytest.raises(UsageError, match="max-dim 0 does not exist"):
        condcli.probe(linear(), wide_data(5), max_dim=0)


@pytest.mark.parametrize(
    ("max_dim", "columns"), [(1, (1, 32)), (100, (100, 50)), (10**5, (256, 128))]
)
def test_a_sketch_has_no_more_columns_than_max_dim_allows(max_dim: int, columns: Any) -> None:
    assert columns_of(max_dim) == columns


def test_padding_is_no_row() -> None:
    rows, real = torch.randn(1, 6, 9), torch.tensor([True] * 4 + [False] * 2)
    moments = [WideMoment(8, sketched=False) for _ in range(2)]
    moments[0].take(rows[:, :4])
    moments[1].take(rows * real[None, :, None])
    moments[1].leave_out((~real).sum())
    few, all_six = (moment.factor() for moment in moments)
    assert moments[1].rows == 4
    np.testing.assert_allclose(few.rows.T @ few.rows, all_six.rows.T @ all_six.rows, rtol=1e-5)
    assert few.trace == pytest.approx(all_six.trace)

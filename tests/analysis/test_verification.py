"""A file that can be true is verified; one that breaks any law is refused, and the part named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from condcli.analysis.decomposition import layer_spectra
from condcli.analysis.verification import verify
from condcli.cli import run
from condcli.errors import InputError
from condcli.stats import ProbeStats, SkippedParameter
from condcli.statsfile import keep_spectra, read, schema, write
from tests.commands.test_errors import fails
from tests.statsfile.test_reading import resign
from tests.synthetic import activation, diagonal, layer, stats

SKIPPED = SkippedParameter(name="norm", kind="BatchNorm", shape=(4,), parameters=4, reason="vector")
COMMON = {"positions": 10.0}  # 1000 rows, 100 loss terms


def true(**changes: Any) -> ProbeStats:
    """Two layers, one of groups, and an embedding, that could be a probe's; `fc` with changes."""
    tokens = np.array([0.75, 0.25, 0.0])
    return stats(
        layer("fc", **{**COMMON, "parameters": 8} | changes),
        layer(
            "groups",
            np.stack([diagonal(2.0, 1.0), np.zeros((2, 2))]),
            np.stack([diagonal(1.0, 1e-9, 0.0), diagonal(3.0, 2.0, 1.0)]),
            order=1,
            parameters=12,
            input_mean=np.zeros(4),
            **COMMON,
        ),
        layer("wte", tokens, kind="embedding", order=2, input_mean=tokens, parameters=6, **COMMON),
        activations=(activation(), activation("late", order=1)),
        skipped=(SKIPPED,),
        parameters=30,
    )


def verified(found: ProbeStats, path: Path) -> dict[str, int]:
    write(found, path / "stats.h5")
    return {row.holds: row.examined for row in verify(read(path / "stats.h5"))}


def test_a_true_file_is_verified_and_what_was_looked_at_is_counted(tmp_path: Path) -> None:
    assert verified(true(), tmp_path) == {
        "form and checksums": 6,
        "finite": 30,
        "symmetric": 7,
        "positive semi-definite": 8,
        "means within moments": 6,
        "norms of singular values": 6,
        "counts of layers": 15,
        "counts of activations": 8,
        "orders and parameters": 6,
        "kept eigenvalues": 0,
    }


def test_rounding_is_forgiven(tmp_path: Path) -> None:
    """A moment of float32 rows may have an eigenvalue a little below zero, and no more."""
    rounded = diagonal(4.0, 2.0, -1e-4)
    write(true(input_moment=rounded, input_mean=np.zeros(3)), tmp_path / "double.h5")
    with pytest.raises(InputError, match=r"input_moment has the eigenvalue -0\.0001, below zero"):
        verify(read(tmp_path / "double.h5"))
    single = true(input_moment=rounded, input_mean=np.zeros(3))
    object.__setattr__(single.provenance, "dtype", "float32")
    write(single, tmp_path / "single.h5")
    assert verify(read(tmp_path / "single.h5"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"input_mean": np.array([0.0, np.nan, 0.0])}, "input_mean holds NaN or infinity"),
        ({"weight_norm": float("inf")}, "weight_norm holds NaN or infinity"),
        ({"grad_moment": np.array([[1.0, 0.5], [0.4, 1.0]])}, "grad_moment is not symmetric"),
        ({"grad_moment": diagonal(1.0, -0.1)}, "grad_moment has the eigenvalue -0.1, below zero"),
        ({"grad_moment": np.array([[0.0, 1.0], [1.0, 0.0]])}, "grad_moment has the eigenvalue -1"),
        ({"input_mean": np.full(3, 9.0)}, "input_mean is too large for input_moment"),
        ({"weight_singular_values": np.array([1.0, 2.0])}, "weight_singular_values do not descend"),
        ({"weight_singular_values": np.array([2.0, -1.0])}, "weight_singular_values do not desce"),
        (
            {"weight_grad_norm": 0.03},
            "weight_grad_singular_values give the norm 0.0223607, not 0.03",
        ),
        ({"rows": 0, "positions": 0.0}, "rows is 0"),
        ({"calls": -1}, "calls is -1"),
        ({"positions": 1.0}, "positions is 1, and rows / loss_terms 10"),
    ],
)
def test_a_layer_that_breaks_a_law_is_named(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=f"^layer 'fc': {complaint}"):
        verified(true(**changes), tmp_path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"parameters": 7}, "its parts have 29 of the model's 30 parameters"),
        ({"order": 1}, "the layers 'fc' and 'groups' have the same order, 1"),
    ],
)
def test_a_whole_that_does_not_add_up_is_told(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        verified(true(**changes), tmp_path)


@pytest.mark.parametrize("count", [-1, 101])
def test_a_unit_is_active_on_no_more_rows_than_there_are(tmp_path: Path, count: int) -> None:
    odd = activation(active_count=np.array([0, count, 0, 0]))
    with pytest.raises(InputError, match="'act': active_count is not within its 100 rows"):
        verified(stats(activations=(odd,), parameters=0), tmp_path)


def test_an_embedding_whose_shares_do_not_sum_to_1_is_named(tmp_path: Path) -> None:
    odd = layer(
        "wte", np.array([0.5, 0.4, 0.0]), kind="embedding", input_mean=np.zeros(3), **COMMON
    )
    with pytest.raises(InputError, match=r"layer 'wte': input_moment sums to 0.9, not 1"):
        verified(stats(odd), tmp_path)


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    path = tmp_path / "stats.h5"
    write(true(), path)
    found = read(path)
    keep_spectra(found, layer_spectra(found))
    return path


def test_kept_eigenvalues_are_looked_at(cached: Path) -> None:
    assert verify(read(cached))[-1].examined == 3


def _false_values(file: Any) -> None:
    group = file["derived/fc"]
    group["input_eigenvalues"][0, 0] = 40.0
    digest = schema.digest_of_array(group["input_eigenvalues"][()])
    group["input_eigenvalues"].attrs["blake2b"] = np.bytes_(digest)
    members = {key: group[key].attrs["blake2b"].decode() for key in group}
    own = {key: value.tolist() for key, value in group.attrs.items()}
    own = {key: value.decode() if isinstance(value, bytes) else value for key, value in own.items()}
    group.attrs["blake2b"] = np.bytes_(schema.digest_of_group(own, members.items()))


def _flipped(file: Any) -> None:
    file["derived/fc/input_eigenvalues"][0, 0] = 40.0


def _no_group(file: Any) -> None:
    del file["derived"]
    file["derived"] = np.zeros(3)


def _link(file: Any) -> None:
    file["more"] = h5py.ExternalLink("elsewhere.h5", "/x")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_false_values, r"layer 'fc': the kept input_eigenvalues sum to 43, not to the trace 7"),
        (_flipped, "truncated or damaged at 'derived'"),
        (_no_group, "truncated or damaged at 'derived'"),
        (_link, "'more' is a link, not a part of the file; do not trust it"),
    ],
)
def test_what_no_other_command_looks_at_is_verified(
    cached: Path, damage: Callable[[Any], None], complaint: str
) -> None:
    with h5py.File(cached, "r+") as file:
        damage(file)
    with pytest.raises(InputError, match=complaint):
        verify(read(cached))


def test_a_law_counts_where_every_checksum_holds(
    tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(true(), tmp_path / "stats.h5")
    assert run(["verify", "stats.h5"]) == 0
    assert re.search(r"positive semi-definite +8 +matrices", capsys.readouterr().out)
    with h5py.File("stats.h5", "r+") as file:
        moment = file["layers/fc/input_moment"]
        moment[...] = -moment[()]
        moment.attrs["blake2b"] = np.bytes_(schema.digest_of_array(moment[()]))
        resign(file)
    assert run(["inspect", "stats.h5"]) == 0
    capsys.readouterr()
    line = fails(capsys, ["verify", "stats.h5"], 3)
    assert line.startswith("stats.h5: layer 'fc': input_moment has the eigenvalue -4, below zero")

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from condcli.stats import LayerStats, SkippedParameter
from condcli.statsfile import read, reading, schema, write
from condcli.statsfile.names import decode, encode
from tests.synthetic import activation, diagonal, layer, stats, wide

ODD_NAMES = [
    "",
    ".",
    "..",
    "%",
    "%41",
    "a/b",
    "/",
    "nul\0nul",
    "nul",
    "\x1b[31m",
    "é√",
    "\udcff",
    "x:2",
]


def same(a: Any, b: Any) -> bool:
    """Equality of two records, arrays bit by bit with their types."""
    return all(
        np.array_equal(x, y) and x.dtype == y.dtype if isinstance(x, np.ndarray) else x == y
        for x, y in ((getattr(a, item.name), getattr(b, item.name)) for item in fields(a))
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    grouped = layer(
        "conv", np.stack([diagonal(1.0, 2.0)] * 3), np.ones((3, 1, 1)), kernel_size=(1, 1)
    )
    unmeasured = layer("fc", weight_grad_moment_lambda_max=None, weight_grad_moment_note="too big")
    written = stats(
        grouped,
        unmeasured,
        wide("long"),
        wide("longer", error=0.5, nonfinite="inputs"),
        wide_groups(),
        activations=(activation(), activation("tanh", saturated_count=np.array([1, 2, 3, 4]))),
        skipped=(
            SkippedParameter(
                name="lstm.weight", kind="lstm", shape=(4, 3), parameters=12, reason="fused"
            ),
        ),
        accuracy=None,
        step=12,
        max_dim=5,
    )
    write(written, tmp_path / "stats.h5")
    found = read(tmp_path / "stats.h5")
    assert found.provenance == written.provenance
    for section in ("layers", "activations", "skipped"):
        before, after = getattr(written, section), getattr(found, section)
        assert list(after) == list(before)
        assert all(same(before[name], after[name]) for name in before)


def wide_groups() -> LayerStats:
    """Two groups, of whose gradients each has a sketch."""
    gradients = {
        "grad_moment": None,
        "grad_factor": np.arange(18.0).reshape(2, 3, 3),
        "grad_error": 1.0,
        "grad_trace": 2000.0,
    }
    return replace(layer("groups", np.ones((2, 1, 1)), np.ones((2, 3, 3))), **gradients)


def test_only_a_file_with_a_factor_is_of_version_2(tmp_path: Path) -> None:
    """For readers that know version 1 could not tell what its layer has."""
    for version, item in ((1, layer()), (2, wide()), (2, wide_groups())):
        write(stats(layer("first"), item, layer("last")), tmp_path / "stats.h5", force=True)
        with h5py.File(tmp_path / "stats.h5") as file:
            assert file.attrs["schema_version"] == version


def test_a_factor_of_float32_takes_half(tmp_path: Path) -> None:
    write(stats(wide(), dtype="float32"), tmp_path / "stats.h5")
    found = read(tmp_path / "stats.h5").layers["wide"].input_factor
    assert found is not None
    assert found.dtype == np.float32


def test_the_moment_of_an_embedding_is_stored_as_its_diagonal(tmp_path: Path) -> None:
    frequencies = np.random.default_rng(0).dirichlet(np.ones(1000))
    write(
        stats(layer("wte", frequencies, kind="embedding"), dtype="float32"), tmp_path / "stats.h5"
    )
    found = read(tmp_path / "stats.h5").layers["wte"].input_moment
    assert found.dtype == np.float64
    assert np.array_equal(found, frequencies)


def test_layers_keep_the_order_of_the_forward_pass(tmp_path: Path) -> None:
    names = [f"l{i}" for i in (10, 9, 2, 1)]
    write(stats(*map(layer, names)), tmp_path / "stats.h5")
    assert list(read(tmp_path / "stats.h5").layers) == names


def test_odd_layer_names_survive_and_stay_apart(tmp_path: Path) -> None:
    moments = {name: diagonal(float(i + 1)) for i, name in enumerate(ODD_NAMES)}
    write(stats(*(layer(n, moments[n]) for n in ODD_NAMES)), tmp_path / "stats.h5")
    found = read(tmp_path / "stats.h5").layers
    assert {name: item.input_moment for name, item in found.items()} == moments


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_encoded_name_is_one_hdf5_link_and_decodes_to_the_name(name: str) -> None:
    assert decode(encode(name)) == name
    assert encode(name).isascii()
    assert encode(name) not in ("", ".")
    assert "/" not in encode(name)


def test_a_float32_probe_is_stored_in_half_the_room(tmp_path: Path) -> None:
    moment = np.random.default_rng(0).random((200, 200))
    moment = moment @ moment.T
    for dtype in ("float32", "float64"):
        write(stats(layer("fc", moment), dtype=dtype), tmp_path / dtype)
    narrow, wide = (read(tmp_path / dtype).layers["fc"] for dtype in ("float32", "float64"))
    assert np.array_equal(wide.input_moment, moment)
    assert np.array_equal(narrow.input_moment, moment.astype(np.float32))
    assert narrow.input_mean.dtype == np.float64
    assert (tmp_path / "float32").stat().st_size < 0.6 * (tmp_path / "float64").stat().st_size


def test_the_moment_of_a_dead_layer_is_float32_too(tmp_path: Path) -> None:
    write(stats(layer("fc", grad_moment=np.zeros((3, 3))), dtype="float32"), tmp_path / "stats.h5")
    assert read(tmp_path / "stats.h5").layers["fc"].grad_moment.dtype == np.float32


@pytest.mark.parametrize("size", [1e-60, 1e60])
def test_vanished_and_exploded_gradients_keep_their_digits(tmp_path: Path, size: float) -> None:
    moment = size * diagonal(2.0, 1e-3)
    write(stats(layer("fc", grad_moment=moment), dtype="float32"), tmp_path / "stats.h5")
    assert np.array_equal(read(tmp_path / "stats.h5").layers["fc"].grad_moment, moment)


def test_a_layer_is_read_when_it_is_asked_for(tmp_path: Path, monkeypatch: Any) -> None:
    write(stats(layer("a"), layer("b")), tmp_path / "stats.h5")
    found = read(tmp_path / "stats.h5")
    opened = []
    original = reading.child_dataset
    monkeypatch.setattr(
        reading, "child_dataset", lambda group, key: opened.append(key) or original(group, key)
    )
    assert found.layers["b"].name == "b"
    assert sorted(opened) == sorted(schema.arrays_of(layer()))
    assert "c" not in found.layers


def test_text_that_hdf5_cannot_hold_is_escaped(tmp_path: Path) -> None:
    write(stats(arch="a\0b", model_source="caf\udce9.pt"), tmp_path / "stats.h5")
    found = read(tmp_path / "stats.h5").provenance
    assert (found.arch, found.model_source) == ("a\\x00b", "caf\\udce9.pt")


def test_numpy_scalars_are_stored_as_numbers(tmp_path: Path) -> None:
    odd: Any = layer("fc", rows=np.int64(7), positions=2, weight_norm=np.float32(0.5))
    write(stats(odd), tmp_path / "stats.h5")
    found = read(tmp_path / "stats.h5").layers["fc"]
    assert (found.rows, found.positions, found.weight_norm) == (7, 2.0, 0.5)


def test_the_same_statistics_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(stats(layer(), activations=(activation(),)), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_nan_loss_is_kept(tmp_path: Path) -> None:
    write(stats(loss=float("nan")), tmp_path / "stats.h5")
    assert np.isnan(read(tmp_path / "stats.h5").provenance.loss)


def test_a_layer_without_a_kernel_has_an_empty_list_of_integers(tmp_path: Path) -> None:
    write(stats(layer("fc", kernel_size=())), tmp_path / "stats.h5")
    with h5py.File(tmp_path / "stats.h5") as file:
        stored = file["layers/fc"].attrs["kernel_size"]
    assert (stored.shape, stored.dtype) == ((0,), np.int64)

"""Eigenvalues that a file keeps count only where they are those of what the file holds."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from condcli.analysis.decomposition import layer_spectra
from condcli.errors import CannotFinishError
from condcli.stats import LayerSpectra, ProbeStats
from condcli.statsfile import (
    check_keepable,
    derived,
    keep_spectra,
    kept_spectra,
    read,
    schema,
    write,
)
from tests.statsfile.test_reading import read_all, resign
from tests.statsfile.test_round_trip import same
from tests.synthetic import diagonal, layer, stats

LAYERS = (
    layer("a/b"),
    layer(
        "groups",
        np.stack([diagonal(2.0, 1.0), diagonal(4.0, 0.5)]),
        np.stack([diagonal(1.0, 1e-9, 0.0), diagonal(3.0, 2.0, 1.0)]),
    ),
    layer("wte", np.array([0.5, 0.5, 0.0]), kind="embedding"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(stats(*LAYERS), tmp_path / "stats.h5")
    return tmp_path / "stats.h5"


def kept(path: Path) -> dict[str, LayerSpectra | None]:
    found = read(path)
    return {name: kept_spectra(found, name) for name in found.layers}


def keep_all(path: Path, **options: Any) -> list[LayerSpectra]:
    found = read(path)
    spectra = layer_spectra(found, **options)
    keep_spectra(found, spectra)
    return spectra


def test_what_is_kept_is_what_was_computed(path: Path) -> None:
    computed = keep_all(path)
    found = kept(path)
    assert list(found) == [item.name for item in computed]
    for item in computed:
        assert same(item, found[item.name])


def test_nothing_else_in_the_file_changes(path: Path) -> None:
    before = read_all(path)
    keep_all(path)
    after = read_all(path)
    assert len(after) == len(before)
    assert all(map(same, before, after))


def test_kept_spectra_spare_the_matrices_and_give_the_same_numbers(
    path: Path, monkeypatch: Any
) -> None:
    computed = keep_all(path)
    with h5py.File(path, "r+") as file:
        del file["layers/groups/input_moment"]
    for one, other in zip(layer_spectra(read(path)), computed, strict=True):
        assert same(one, other)


def test_layers_are_added_to_those_kept_before(path: Path) -> None:
    keep_all(path, layers="a*")
    assert [name for name, item in kept(path).items() if item] == ["a/b"]
    keep_all(path, layers="g*")
    assert [name for name, item in kept(path).items() if item] == ["a/b", "groups"]


def test_a_file_that_keeps_all_is_not_written_again(path: Path) -> None:
    keep_all(path)
    before = path.stat().st_ino
    keep_all(path)
    assert path.stat().st_ino == before


def test_a_new_file_keeps_nothing(path: Path) -> None:
    keep_all(path)
    write(read(path), path.parent / "copy.h5")
    assert not any(kept(path.parent / "copy.h5").values())


def _another_matrix(file: Any) -> None:
    moment = diagonal(9.0, 8.0, 7.0)
    del file["layers/a%2Fb/input_moment"]
    made = file["layers/a%2Fb"].create_dataset("input_moment", data=moment)
    made.attrs["blake2b"] = np.bytes_(schema.digest_of_array(moment))


def _another_dtype(file: Any) -> None:
    file.attrs["dtype"] = np.bytes_("float32")


@pytest.mark.parametrize("change", [_another_matrix, _another_dtype])
def test_spectra_of_other_statistics_do_not_count(path: Path, change: Any) -> None:
    keep_all(path)
    with h5py.File(path, "r+") as file:
        change(file)
        resign(file)
    assert not any(kept(path).values())
    assert [item.input_eigenvalues.max() for item in layer_spectra(read(path), layers="a*")] == [
        pytest.approx(9 if change is _another_matrix else 4, rel=1e-6)
    ]
    keep_all(path)
    assert all(kept(path).values())


def test_spectra_that_another_condcli_derived_do_not_count(path: Path, monkeypatch: Any) -> None:
    keep_all(path)
    monkeypatch.setattr(derived, "__version__", "99.0")
    assert not any(kept(path).values())


def _flip_value(file: Any) -> None:
    file["derived/groups/grad_eigenvalues"][0, 0] += 1


def _change_attribute(file: Any) -> None:
    file["derived/groups"].attrs["positions"] = 2.0


def _drop_array(file: Any) -> None:
    del file["derived/groups/input_floor"]


def _link_elsewhere(file: Any) -> None:
    del file["derived/groups"]
    file["derived/groups"] = h5py.ExternalLink("elsewhere.h5", "/layers/fc")


def _no_group(file: Any) -> None:
    del file["derived"]
    file["derived"] = np.zeros(3)


@pytest.mark.parametrize(
    "damage", [_flip_value, _change_attribute, _drop_array, _link_elsewhere, _no_group]
)
def test_damaged_spectra_are_computed_anew(path: Path, damage: Any) -> None:
    computed = keep_all(path)
    with h5py.File(path, "r+") as file:
        damage(file)
    assert kept(path)["groups"] is None
    for one, other in zip(layer_spectra(read(path)), computed, strict=True):
        assert same(one, other)
    keep_all(path)
    assert all(kept(path).values())


def test_a_flipped_byte_gives_an_error_or_the_same_spectra(path: Path) -> None:
    keep_all(path)
    whole, before = path.read_bytes(), kept(path)
    rng = np.random.default_rng(0)
    lost = 0
    for position in rng.integers(whole.find(b"derived"), len(whole), 80):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        for name, item in kept(path).items():
            lost += item is None
            assert item is None or same(item, before[name])
    assert lost > 10


def _by_other_statistics(path: Path) -> None:
    write(stats(layer("other")), path, force=True)


def _by_another_file(path: Path) -> None:
    path.unlink()
    path.write_text("precious")


@pytest.mark.parametrize("replace_with", [_by_other_statistics, _by_another_file])
def test_a_file_that_was_replaced_meanwhile_is_left_alone(path: Path, replace_with: Any) -> None:
    found = read(path)
    spectra = layer_spectra(found)
    replace_with(path)
    content = path.read_bytes()
    with pytest.raises(CannotFinishError, match=r"was replaced while .* run it again"):
        keep_spectra(found, spectra)
    assert path.read_bytes() == content


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_whatever_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: Any, call: str) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    content = path.read_bytes()
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(
        CannotFinishError, match=r"cannot be written \(No space left on device\); .* --cache"
    ):
        keep_all(path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_link_keeps_leading_to_the_file_and_the_file_its_permissions(path: Path) -> None:
    path.chmod(0o640)
    link = path.parent / "link.h5"
    link.symlink_to(path)
    keep_all(link)
    assert link.is_symlink()
    assert all(kept(path).values())
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_file_that_cannot_be_replaced_is_refused_early(
    path: Path, monkeypatch: Any, which: str
) -> None:
    check_keepable(path)
    closed = path if which == "file" else path.parent
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != closed)
    with pytest.raises(CannotFinishError, match=r"not writable; run without --cache"):
        check_keepable(path)


def test_room_for_a_copy_is_asked_for_early(path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1024))
    with pytest.raises(CannotFinishError, match=r"0\.0 MiB are free there; .* without --cache"):
        check_keepable(path)


def test_statistics_that_are_not_a_files_have_nothing_kept(path: Path) -> None:
    keep_all(path)
    found = read(path)
    assert kept_spectra(stats(*LAYERS), "a/b") is None
    changed: ProbeStats = replace(found, layers=dict(found.layers))
    assert kept_spectra(changed, "a/b") is None
    assert kept_spectra(found, "no such layer") is None

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from condcli.errors import InputError
from condcli.stats import ProbeStats, SkippedParameter
from condcli.statsfile import read, schema, write
from condcli.statsfile.hdf5 import child_dataset, child_group, plain_array
from tests.statsfile.test_round_trip import same
from tests.synthetic import activation, layer, stats


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one record of each section."""
    written = stats(
        layer(),
        activations=(activation(),),
        skipped=(
            SkippedParameter(name="lstm", kind="lstm", shape=(4, 3), parameters=12, reason="fused"),
        ),
    )
    write(written, tmp_path / "stats.h5")
    return tmp_path / "stats.h5"


def read_all(path: Path) -> list[Any]:
    """Every record of the file, as a command would read it."""
    found = read(path)
    records = [found.layers, found.activations, found.skipped]
    return [found.provenance, *(item for part in records for item in part.values())]


def resign(file: Any) -> None:
    """Make all group digests hold again, as an attacker can."""
    members = []
    for section in ("layers", "activations", "skipped"):
        for group in file[section].values():
            datasets = [(key, _plain(group[key].attrs["blake2b"])) for key in group]
            digest = schema.digest_of_group(_attributes(group), datasets)
            group.attrs["blake2b"] = np.bytes_(digest)
            members.append((group.name, digest))
    file.attrs["blake2b"] = np.bytes_(schema.digest_of_group(_attributes(file), members))


def _attributes(item: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in item.attrs.items()}


def _plain(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "is not a statistics file"), (b"PK\x03\x04 a checkpoint", "is not a statistics file")],
)
def test_a_file_of_another_kind_is_refused_by_name(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=f"x: {complaint}"):
        read(tmp_path / "x")


@pytest.mark.parametrize(("name", "why"), [("none", "No such file"), (".", "Is a directory")])
def test_a_path_that_is_no_file_is_refused_by_name(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(InputError, match=f"cannot be opened .{why}"):
        read(tmp_path / name)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is not a regular file"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["HDF5_DRIVER", "HDF5_VOL_CONNECTOR", "HDF5_USE_FILE_LOCKING"])
def test_the_environment_does_not_reach_hdf5(path: Path, name: str) -> None:
    program = "import sys, condcli.statsfile as s; print(*s.read(sys.argv[1]).layers)"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, name: "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "fc\n", "")


def test_a_foreign_hdf5_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        file.attrs["keras_version"] = "3"
    with pytest.raises(InputError, match=r"keras.h5: is an HDF5 file, but not one of condcli's"):
        read(tmp_path / "keras.h5")


def test_a_newer_schema_is_refused_with_the_way_out(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 3
    with pytest.raises(InputError, match=r"schema version 3, and this .* reads 1 and 2; upgrade"):
        read(path)


def test_a_file_not_written_to_its_end_is_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs["complete"]
    with pytest.raises(InputError, match="was not written to its end"):
        read(path)


def test_a_truncated_file_is_refused_wherever_it_ends(path: Path) -> None:
    whole = path.read_bytes()
    for size in np.linspace(8, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="truncated or damaged"):
            read_all(path)


def test_a_flipped_byte_gives_an_error_or_the_same_numbers(path: Path) -> None:
    whole, before = path.read_bytes(), read_all(path)
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.integers(0, len(whole), 200):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            after = read_all(path)
        except InputError:
            refused += 1
        else:
            assert len(after) == len(before)
            assert all(map(same, before, after)), position
    assert refused > 50


def _overwrite(file: Any) -> None:
    file["layers/fc/input_moment"][0, 0] += 1e-9


def _drop_attribute(file: Any) -> None:
    del file["layers/fc"].attrs["rows"]


def _change_attribute(file: Any) -> None:
    file["layers/fc"].attrs["rows"] = 999


def _drop_dataset(file: Any) -> None:
    del file["layers/fc/grad_mean"]


def _drop_layer(file: Any) -> None:
    del file["layers/fc"]


def _drop_section(file: Any) -> None:
    del file["activations"]


def _change_provenance(file: Any) -> None:
    file.attrs["examples"] = 5


@pytest.mark.parametrize(
    "damage",
    [
        _overwrite,
        _drop_attribute,
        _change_attribute,
        _drop_dataset,
        _drop_layer,
        _drop_section,
        _change_provenance,
    ],
)
def test_a_change_anywhere_is_noticed(path: Path, damage: Callable[[Any], None]) -> None:
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(InputError, match=r"stats\.h5: the statistics file is truncated or damaged"):
        read_all(path)


def test_the_damaged_layer_is_named(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        _overwrite(file)
    with pytest.raises(InputError, match="damaged at 'fc'; copy it anew"):
        read_all(path)


def _missing_attribute(file: Any) -> None:
    del file["layers/fc"].attrs["rows"]


def _text_for_a_number(file: Any) -> None:
    file["layers/fc"].attrs["rows"] = np.bytes_("many")


def _text_of_any_length(file: Any) -> None:
    file["layers/fc"].attrs["kind"] = "linear"  # in HDF5's global heap, which has no checksum


def _wrong_shape(file: Any) -> None:
    file["layers/fc"].attrs["d_in"] = 1000


def _diagonal_for_a_matrix(file: Any) -> None:
    del file["layers/fc/input_moment"]
    diagonal = file["layers/fc"].create_dataset("input_moment", data=np.ones(3))
    diagonal.attrs["blake2b"] = np.bytes_(schema.digest_of_array(np.ones(3)))


def _no_groups(file: Any) -> None:
    file["layers/fc"].attrs["groups"] = 0


def _soft_link(file: Any) -> None:
    file["layers/other"] = h5py.SoftLink("/layers/fc")


def _external_link(file: Any) -> None:
    file["layers/other"] = h5py.ExternalLink("elsewhere.h5", "/layers/fc")


def _dataset_for_a_group(file: Any) -> None:
    file["layers"].create_dataset("other", data=np.zeros(3)).attrs["blake2b"] = np.bytes_("0")


@pytest.mark.parametrize(
    "forgery",
    [
        _missing_attribute,
        _text_for_a_number,
        _text_of_any_length,
        _wrong_shape,
        _no_groups,
        _diagonal_for_a_matrix,
        _soft_link,
        _external_link,
        _dataset_for_a_group,
    ],
)
def test_a_forgery_with_right_digests_is_refused(
    path: Path, forgery: Callable[[Any], None]
) -> None:
    with h5py.File(path, "r+") as file:
        if forgery in (_soft_link, _external_link, _dataset_for_a_group):
            resign(file)
            forgery(file)
        else:
            forgery(file)
            resign(file)
    with pytest.raises(InputError, match="truncated or damaged"):
        read_all(path)


def test_signing_alone_changes_nothing(path: Path) -> None:
    before = read_all(path)
    with h5py.File(path, "r+") as file:
        resign(file)
    assert all(map(same, before, read_all(path)))


def test_unknown_attributes_and_datasets_of_a_later_writer_are_ignored(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["layers/fc"].attrs["later"] = 1
        file["layers/fc"].create_dataset("later", data=np.zeros(2)).attrs["blake2b"] = np.bytes_(
            "x"
        )
        resign(file)
    assert isinstance(read(path), ProbeStats)
    assert read(path).layers["fc"].rows == 1000


@pytest.fixture
def group(tmp_path: Path) -> Any:
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        yield file


def test_data_outside_the_file_are_not_followed(tmp_path: Path, group: Any) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    group.create_dataset("external", (2,), "<f8", external=[(tmp_path / "secret", 0, 16)])
    source = h5py.VirtualSource(tmp_path / "elsewhere.h5", "x", (2,))
    layout = h5py.VirtualLayout((2,), "<f8")
    layout[:] = source
    group.create_virtual_dataset("virtual", layout)
    for name in ("external", "virtual"):
        with pytest.raises(ValueError, match="unexpected storage"):
            plain_array(group[name].id, dtypes=("<f8",), shape=(2,))


def test_a_header_that_claims_more_than_the_file_holds_is_not_believed(group: Any) -> None:
    claimed = group.create_dataset("huge", (1 << 20, 1 << 20), "<f8")
    with pytest.raises(ValueError, match="values missing"):
        plain_array(claimed.id, dtypes=("<f8",), shape=claimed.shape)
    packed = group.create_dataset("bomb", (1 << 10, 1 << 10), "<f8", compression="gzip")
    with pytest.raises(ValueError, match="unexpected storage"):
        plain_array(packed.id, dtypes=("<f8",), shape=packed.shape)


def test_another_type_or_rank_is_refused(group: Any) -> None:
    numbers = group.create_dataset("numbers", data=np.zeros((2, 2), np.int32))
    with pytest.raises(ValueError, match="unexpected type"):
        plain_array(numbers.id, dtypes=("<f8",), shape=(2, 2))
    with pytest.raises(ValueError, match="unexpected shape"):
        plain_array(numbers.id, dtypes=("<i4",), shape=None)


def test_a_child_of_the_other_kind_is_refused(group: Any) -> None:
    group.create_group("group")
    group["numbers"] = np.zeros(2)
    with pytest.raises(TypeError, match="not a DatasetID"):
        child_dataset(group.id, "group")
    with pytest.raises(TypeError, match="not a GroupID"):
        child_group(group.id, "numbers")
    with pytest.raises(RuntimeError, match="name doesn't exist"):
        child_group(group.id, "absent")

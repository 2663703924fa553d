from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from condcli.commands.merge import merge
from condcli.errors import CannotFinishError, InputError
from condcli.stats import LayerSpectra, LayerStats
from condcli.statsfile import check_output, keep_spectra, read, schema, size_of, write
from tests.synthetic import layer, provenance, stats

# A process that may write no more than 8 KiB to a file, as on a full disk.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from condcli.errors import CannotFinishError
from condcli.statsfile import write
from tests.synthetic import layer, stats
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    write(stats(layer()), Path(sys.argv[1]), force=True)
except CannotFinishError as error:
    sys.exit(str(error))
"""


def test_an_existing_file_is_replaced_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "stats.h5"
    path.write_text("precious")
    with pytest.raises(CannotFinishError, match="already exists; pass --force"):
        write(stats(), path)
    assert path.read_text() == "precious"
    write(stats(layer()), path, force=True)
    assert list(read(path).layers) == ["fc"]


@pytest.mark.parametrize(
    ("where", "complaint"),
    [("nowhere/stats.h5", "there is no folder"), ("", "is a folder"), ("pipe", "not a regular")],
)
def test_a_place_that_cannot_hold_the_file_is_refused_even_with_force(
    tmp_path: Path, where: str, complaint: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CannotFinishError, match=complaint):
        check_output(tmp_path / where, force=True)
    with pytest.raises(CannotFinishError, match=complaint):
        write(stats(), tmp_path / where, force=True)


@pytest.mark.parametrize("target", ["nowhere.h5", "old.h5"])
@pytest.mark.parametrize("force", [False, True])
def test_a_symbolic_link_is_refused_wherever_it_leads(
    tmp_path: Path, target: str, force: bool
) -> None:
    (tmp_path / "old.h5").write_text("precious")
    (tmp_path / "link.h5").symlink_to(target)
    with pytest.raises(CannotFinishError, match="is a symbolic link; name the file itself"):
        write(stats(), tmp_path / "link.h5", force=force)
    assert (tmp_path / "link.h5").is_symlink()
    assert (tmp_path / "old.h5").read_text() == "precious"


@pytest.mark.parametrize("name", ["net.pt", "hard.pt", "soft.pt", "sub/../net.pt"])
def test_an_output_that_is_an_input_is_refused_even_with_force(tmp_path: Path, name: str) -> None:
    model, absent = tmp_path / "net.pt", tmp_path / "digits"
    model.touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "hard.pt").hardlink_to(model)
    (tmp_path / "soft.pt").symlink_to(model)
    with pytest.raises(CannotFinishError, match="is also an input; name another file"):
        check_output(tmp_path / name, force=True, inputs=[absent, model])
    check_output(tmp_path / "stats.h5", inputs=[absent, model])


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="needs a folder that nobody may write to"
)
def test_a_folder_that_cannot_be_written_to_is_refused() -> None:
    with pytest.raises(CannotFinishError, match=r"the folder /proc is not writable .*; name anot"):
        check_output(Path("/proc/stats.h5"))


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotFinishError, match=r"cannot be written \(File name too long\)"):
        check_output(tmp_path / ("x" * 300))


@pytest.mark.parametrize("force", [False, True])
def test_a_device_is_no_place(force: bool) -> None:
    with pytest.raises(CannotFinishError, match="/dev/full: is not a regular file"):
        check_output(Path("/dev/full"), force=force)


def test_a_pipe_in_the_folder_of_the_model_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CannotFinishError, match="is not a regular file"):
        check_output(tmp_path / "pipe", force=True, inputs=[tmp_path])


def test_a_place_that_can_hold_the_file_is_left_as_it_was(tmp_path: Path) -> None:
    check_output(tmp_path / "stats.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "stats.h5"
    write(stats(), path)
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(f"{path}: cannot be written (File too large); free some space")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_whatever_interrupts_the_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: Any, call: str, error: BaseException
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises((CannotFinishError, KeyboardInterrupt)):
        write(stats(layer()), tmp_path / "stats.h5", force=True)
    assert list(tmp_path.iterdir()) == []


def _free(monkeypatch: Any, size: int) -> None:
    """Make every disk have so many bytes free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=size))


def test_space_is_asked_for_first_and_missed_with_numbers(tmp_path: Path, monkeypatch: Any) -> None:
    moment = np.eye(512)
    needed = stats(layer("fc", moment, moment))  # two matrices of 2 MiB
    _free(monkeypatch, 3 * 2**20)
    takes = r"takes 4\.0 MiB, and 3\.0 MiB are free there; free some space"
    with pytest.raises(CannotFinishError, match=takes):
        write(needed, tmp_path / "stats.h5")
    with pytest.raises(CannotFinishError, match=takes):
        check_output(tmp_path / "stats.h5", size=4 * 2**20)
    assert list(tmp_path.iterdir()) == []
    write(replace(needed, provenance=provenance(dtype="float32")), tmp_path / "half.h5")


def test_merging_asks_for_the_space_of_a_shard_without_what_only_shards_have(
    tmp_path: Path, monkeypatch: Any
) -> None:
    moment = np.eye(512)
    shard = layer("fc", moment, moment, weight_grad=moment)
    write(stats(shard), tmp_path / "part.h5")
    assert 4 * 2**20 < size_of(read(tmp_path / "part.h5")) < 4.1 * 2**20
    _free(monkeypatch, 3 * 2**20)
    with pytest.raises(CannotFinishError, match=r"all\.h5: takes 4\.0 MiB"):
        merge([tmp_path / "part.h5"], tmp_path / "all.h5")


class Lazy(Mapping[str, LayerStats]):
    """Layers that are made when they are asked for, as `condcli merge` makes them."""

    def __init__(self, count: int, size: int) -> None:
        self._names = [f"fc{number}" for number in range(count)]
        self._size = size

    def __getitem__(self, name: str) -> LayerStats:
        moment = np.ones((self._size, self._size))
        return layer(name, moment, moment)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def test_one_layer_at_a_time_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "stats.h5"
    whole = replace(stats(), layers=Lazy(count=24, size=256))
    write(stats(layer()), tmp_path / "first.h5")  # what is loaded once
    tracemalloc.start()
    write(whole, path)
    written = tracemalloc.get_traced_memory()[1]
    spectra = [
        LayerSpectra(
            name=name,
            kind="linear",
            rows=1000,
            d_in=256,
            d_out=256,
            groups=1,
            positions=1.0,
            input_eigenvalues=np.ones((1, 256)),
            input_floor=np.zeros(1),
            input_ceiling=np.ones(1, dtype=np.int64),
            grad_eigenvalues=np.ones((1, 256)),
            grad_floor=np.zeros(1),
            grad_ceiling=np.ones(1, dtype=np.int64),
        )
        for name in whole.layers
    ]
    tracemalloc.reset_peak()
    keep_spectra(read(path), spectra)
    kept = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 24 * 2**20
    assert written < 4 * 2**20
    assert kept < 4 * 2**20


def test_a_file_that_does_not_read_back_never_appears(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(schema, "digest_of_array", lambda array: secrets.token_hex(16))
    with pytest.raises(CannotFinishError, match="does not read back as it was written"):
        write(stats(layer()), tmp_path / "stats.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"), [("step", 2**70), ("seed", -(2**63) - 1), ("examples", "many")]
)
def test_a_value_that_has_no_form_in_the_file_is_named(
    tmp_path: Path, field: str, value: Any
) -> None:
    with pytest.raises(InputError, match=f"^{field} = {str(value)[:40]} does not fit"):
        write(stats(**{field: value}), tmp_path / "stats.h5")
    assert list(tmp_path.iterdir()) == []

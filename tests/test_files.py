"""What is checked is what is read: inputs that are no files, or change while they are read."""

import hashlib
import os
import pickle
import threading
import time
import zipfile
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from condcli import files, machine
from condcli.archive import check_archive
from condcli.data import array_files, open_data
from condcli.errors import CannotFinishError, InputError
from condcli.models import read_checkpoint
from condcli.models.formats import containers, json_file

WEIGHTS = {"a.weight": torch.arange(60_000.0).reshape(200, 300), "a.bias": torch.arange(200.0)}
OTHERS = {name: -tensor for name, tensor in WEIGHTS.items()}


def save_zip(weights, path):
    torch.save(weights, path)


def save_legacy(weights, path):
    torch.save(weights, path, _use_new_zipfile_serialization=False)


def save_npz(weights, path):
    with open(path, "wb") as file:
        np.savez(file, **{name: tensor.numpy() for name, tensor in weights.items()})


SAVE = {"zip": save_zip, "legacy": save_legacy, "safetensors": save_file, "npz": save_npz}


def cut_short(path):
    os.truncate(path, path.stat().st_size // 2)


def append(path):
    with path.open("ab") as file:
        file.write(bytes(100))


def write_over(path):
    content = bytearray(path.read_bytes())
    content[-20_000:-10_000] = bytes(10_000)
    with path.open("r+b") as file:
        file.write(content)


def before_it_is_read(monkeypatch, module, name, change):
    """Call `change` when the file is open and its kind is known, and nothing else has been read."""
    known = getattr(module, name)

    def changed(*args, **kwargs):
        result = known(*args, **kwargs)
        time.sleep(0.02)  # some clocks of files tick slowly
        change()
        return result

    monkeypatch.setattr(module, name, changed)


@pytest.mark.parametrize("change", [cut_short, append, write_over])
@pytest.mark.parametrize("kind", SAVE)
def test_a_checkpoint_that_is_written_to_while_it_is_read_is_refused(
    tmp_path, monkeypatch, kind, change
):
    path = tmp_path / "model"
    SAVE[kind](WEIGHTS, path)
    before_it_is_read(monkeypatch, containers, "file_kind", lambda: change(path))
    with pytest.raises(InputError, match="model was replaced while it was read; run again"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", SAVE)
def test_a_file_put_in_the_place_of_a_checkpoint_is_not_looked_at(tmp_path, monkeypatch, kind):
    path, other = tmp_path / "model", tmp_path / "other"
    SAVE[kind](WEIGHTS, path)
    SAVE[kind](OTHERS, other)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    before_it_is_read(monkeypatch, containers, "file_kind", lambda: os.replace(other, path))
    checkpoint = read_checkpoint(path)
    assert torch.equal(checkpoint.state_dict["a.weight"], WEIGHTS["a.weight"])
    assert checkpoint.sha256 == digest


@pytest.mark.parametrize("kind", SAVE)
def test_weights_outlive_the_file_that_they_were_read_from(tmp_path, kind):
    path = tmp_path / "model"
    SAVE[kind](WEIGHTS, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.sha256
    os.truncate(path, 0)
    assert torch.equal(checkpoint.state_dict["a.weight"], WEIGHTS["a.weight"])


def test_a_checkpoint_that_is_written_to_while_it_is_digested_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    torch.save(WEIGHTS, path)
    read = threading.Event()

    class Waiting:
        """A sha256 that goes on when the checkpoint is read."""

        def update(self, chunk):
            read.wait(10)

    monkeypatch.setattr("condcli.models.formats.digest.hashlib", SimpleNamespace(sha256=Waiting))
    checkpoint = read_checkpoint(path)
    time.sleep(0.02)
    append(path)
    read.set()
    with pytest.raises(InputError, match="was replaced while it was read; run again"):
        _ = checkpoint.sha256


@pytest.mark.parametrize("change", [cut_short, append, write_over])
@pytest.mark.parametrize("ending", [".npz", ".pt"])
def test_data_that_are_written_to_while_they_are_read_are_refused(
    tmp_path, monkeypatch, ending, change
):
    path = tmp_path / f"set{ending}"
    SAVE["npz" if ending == ".npz" else "zip"](
        {"x": torch.randn(200, 50), "y": torch.ones(200)}, path
    )
    before_it_is_read(monkeypatch, array_files, "_require_zip", lambda: change(path))
    with pytest.raises(InputError, match="was replaced while it was read; run again"):
        open_data(str(path))


@pytest.mark.parametrize("change", [cut_short, append, write_over])
def test_a_text_that_changes_between_batches_is_refused(tmp_path, change):
    path = tmp_path / "book.txt"
    path.write_bytes(b"the cat sat on the mat\n" * 3000)
    probe_set = open_data(f"text:{path}", length=64, samples=None)
    batches = probe_set.batches(200)
    next(batches)
    time.sleep(0.02)
    change(path)
    with pytest.raises(InputError, match=r"book\.txt was replaced while it was read"):
        list(batches)


@pytest.mark.parametrize("change", [cut_short, append])
def test_an_hdf5_file_that_changes_between_batches_is_refused(tmp_path, change):
    path = tmp_path / "set.h5"
    with h5py.File(path, "w") as content:
        content["x"], content["y"] = np.ones((500, 30)), np.arange(500)
    batches = open_data(str(path), samples=None).batches(100)
    next(batches)
    time.sleep(0.02)
    change(path)
    with pytest.raises(InputError, match=r"set\.h5 was replaced while it was read"):
        list(batches)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", ["pipe", "model.safetensors.index.json"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} is not a regular file"):
        read_checkpoint(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} is not a regular file"):
        json_file.read_json(tmp_path / name)


def test_what_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist; check the path"):
        files.opened(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a regular file"):
        files.opened(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be read: Not a directory"):
        files.opened(tmp_path / "file" / "inner")


def test_too_many_open_files_are_said_as_such(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(CannotFinishError, match="too many files are open; allow more with ulimit"):
        files.opened(tmp_path / "model")


def test_an_archive_that_lists_more_than_it_may_is_not_listed(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    torch.save(WEIGHTS, path)
    with path.open("rb") as file:
        check_archive(path, file)
        monkeypatch.setattr("condcli.archive.MOST_LISTED", 100)
        with pytest.raises(InputError, match="truncated or damaged"):
            check_archive(path, file)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_a_key_with_more_parts_than_can_be_hashed_is_refused(tmp_path, kind):
    key = (1,)
    for _ in range(60):
        key = (key, key)
    odd = pickle.dumps({"weights": 0, "place": 1}, 2).replace(
        b"X\x07\x00\x00\x00weights", pickle.dumps(key, 2)[2:-1]
    )
    path = tmp_path / "set.pt"
    SAVE[kind]({"x": torch.ones(2, 2), "y": torch.ones(2)}, path)
    _put_pickle(path, odd, zipped=kind == "zip")
    with pytest.raises(InputError, match="tuples within tuples"):
        read_checkpoint(path)
    if kind == "zip":
        with pytest.raises(InputError, match="tuples within tuples"):
            open_data(str(path))


def _put_pickle(path, image, *, zipped):
    """Put another pickle in the place of the data in a file of torch.save."""
    if not zipped:
        magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
        rest = [pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2), image]
        path.write_bytes(b"".join([magic, *rest, pickle.dumps([], 2)]))
        return
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, image if name.endswith("/data.pkl") else content)


@pytest.mark.parametrize("kind", SAVE)
def test_a_checkpoint_that_memory_cannot_hold_is_refused_with_numbers(tmp_path, monkeypatch, kind):
    path = tmp_path / "model"
    SAVE[kind](WEIGHTS, path)
    monkeypatch.setattr(machine, "free_memory", lambda: machine.Budget(200_000, "the cgroup"))
    said = "reading .*model needs about 23[5-9] KiB, and 195 KiB are free within the cgroup; use a"
    with pytest.raises(CannotFinishError, match=said):
        read_checkpoint(path)


@pytest.mark.parametrize("ending", [".npz", ".pt", ".safetensors", ".parquet"])
def test_data_that_memory_cannot_hold_are_refused_with_numbers(tmp_path, monkeypatch, ending):
    path = tmp_path / f"set{ending}"
    arrays = {"x": torch.randn(200, 50), "y": torch.ones(200)}
    if ending == ".parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table({"x": arrays["x"].flatten().numpy()}), path)
    else:
        SAVE[{".npz": "npz", ".pt": "zip", ".safetensors": "safetensors"}[ending]](arrays, path)
    monkeypatch.setattr(machine, "free_memory", lambda: machine.Budget(20_000, "RLIMIT_AS"))
    with pytest.raises(CannotFinishError, match=r"reading .*set.* needs about .*within RLIMIT_AS"):
        open_data(str(path))

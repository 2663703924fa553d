"""No code from a model file runs without --trust, in any container; and the canary can sing."""

import importlib
import io
import json
import pickle
import sys
import tarfile
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn

from condcli.errors import InputError, UnsafeError
from condcli.models import load, read_checkpoint
from tests.canary import Canary

WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}


def in_zip(folder, canary):
    torch.save(WEIGHTS | {"extra": Canary(canary)}, folder / "model.pt")
    return folder / "model.pt"


def in_legacy(folder, canary):
    path = folder / "model.pth"
    torch.save({"model": WEIGHTS, "x": Canary(canary)}, path, _use_new_zipfile_serialization=False)
    return path


def in_lightning(folder, canary):
    content = {"state_dict": WEIGHTS, "hyper_parameters": {"a": Canary(canary)}}
    torch.save(content, folder / "model.ckpt")
    return folder / "model.ckpt"


def in_bare_pickle(folder, canary):
    (folder / "model.pkl").write_bytes(pickle.dumps(WEIGHTS | {"extra": Canary(canary)}))
    return folder / "model.pkl"


def in_shard(folder, canary):
    torch.save(WEIGHTS | {"extra": Canary(canary)}, folder / "a.bin")
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"weight": "a.bin"}}))
    return folder


def in_folder(folder, canary):
    torch.save(WEIGHTS | {"extra": Canary(canary)}, folder / "pytorch_model.bin")
    return folder


def in_exported_program(folder, canary):
    """In its sample inputs: torch.export.load falls back to unpickling them whole."""
    plain, path = folder / "plain.pt2", folder / "model.pt2"
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), plain)
    torch.save(Canary(canary), folder / "inputs")
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            inputs = entry.filename.endswith("sample_inputs/model.pt")
            image = (folder / "inputs").read_bytes() if inputs else source.read(entry)
            target.writestr(entry.filename, image)
    return path


def legacy_parts(canary):
    """The pickles of torch's old format: magic number, version, system, data, names of storages."""
    magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
    facts = {"little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return [magic + b".", *(pickle.dumps(part, 2) for part in (1001, facts, {"a": 1.0}, []))]


def in_legacy_part(number):
    def hide(folder, canary):
        parts, path = legacy_parts(canary), folder / "model.pth"
        sung = pickle.dumps(Canary(canary), 2)
        # The first must keep the number by which the format is known: it is put there and dropped.
        parts[number] = parts[0][:-1] + b"0" + sung[2:] if number == 0 else sung
        path.write_bytes(b"".join(parts))
        return path

    return hide


def in_tar(folder, canary):
    """As torch saved before 0.1.10."""
    path = folder / "model.pth"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("storages", "tensors", "pickle"):
            image = pickle.dumps(Canary(canary), 2)
            entry = tarfile.TarInfo(name)
            entry.size = len(image)
            archive.addfile(entry, io.BytesIO(image))
    return path


def in_renamed_pickle(folder, canary):
    (folder / "model.safetensors").write_bytes(pickle.dumps(Canary(canary), 2))
    return folder / "model.safetensors"


def in_training_args(folder, canary):
    torch.save(Canary(canary), folder / "training_args.bin")
    return folder / "training_args.bin"


LOADED_UNSAFELY = {
    "the legacy magic number": in_legacy_part(0),
    "the legacy version": in_legacy_part(1),
    "the legacy facts of the system": in_legacy_part(2),
    "the legacy data": in_legacy_part(3),
    "the legacy tail": in_legacy_part(4),
    "a tar archive": in_tar,
    "training_args.bin": in_training_args,
}


@pytest.mark.parametrize("forced", ["0", "1"])
@pytest.mark.parametrize("place", LOADED_UNSAFELY)
def test_code_hidden_in_a_part_of_a_file_does_not_run(tmp_path, canary, place, forced, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    path = LOADED_UNSAFELY[place](tmp_path, canary)
    with pytest.raises(UnsafeError if place != "a tar archive" else InputError):
        load(path)
    assert not canary.exists()
    with suppress(Exception):  # what is left is no checkpoint
        torch.load(path, weights_only=False)
    assert canary.exists()


def test_the_arguments_of_a_training_are_no_weights_in_its_folder(tmp_path, canary):
    in_training_args(tmp_path, canary)
    with pytest.raises(InputError, match="without a checkpoint"):
        load(tmp_path)
    assert not canary.exists()


def test_a_pickle_called_safetensors_is_refused_as_a_pickle(tmp_path, canary):
    path = in_renamed_pickle(tmp_path, canary)
    with pytest.raises(UnsafeError, match="bare pickle"):
        load(path)
    assert not canary.exists()
    pickle.loads(path.read_bytes())
    assert canary.exists()


def in_metadata(folder, canary):
    (folder / ".metadata").write_bytes(pickle.dumps(Canary(canary)))
    return folder


UNTRUSTED = (
    in_zip, in_legacy, in_lightning, in_bare_pickle, in_shard, in_folder, in_exported_program,
    in_metadata,
)  # fmt: skip


@pytest.mark.parametrize("hide", UNTRUSTED, ids=lambda hide: hide.__name__)
def test_code_does_not_run(tmp_path, canary, hide, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = hide(tmp_path, canary)
    canary.unlink(missing_ok=True)  # pickling does not touch it; to be sure
    with pytest.raises(UnsafeError) as caught:
        load(path)
    assert not canary.exists()
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("hide", UNTRUSTED[:-1], ids=lambda hide: hide.__name__)
def test_the_same_code_runs_when_trusted(tmp_path, canary, hide):
    path = hide(tmp_path, canary)
    with suppress(InputError):  # the code ran, and left something else than was to be there
        read_checkpoint(path, trust=True)
    assert canary.exists()


def test_the_metadata_of_a_distributed_checkpoint_run_nothing_even_when_trusted(tmp_path, canary):
    path = in_metadata(tmp_path, canary)
    with pytest.raises(UnsafeError, match=r"\.metadata: the metadata name '(pathlib|builtins)\."):
        read_checkpoint(path, trust=True)
    assert not canary.exists()
    with (path / ".metadata").open("rb") as file:
        pickle.load(file)
    assert canary.exists()


def test_a_chunk_of_a_distributed_checkpoint_runs_nothing(tmp_path, canary):
    folder = tmp_path / "step"
    with pytest.warns(UserWarning, match="in a single process"):
        dcp.save({"model": WEIGHTS}, checkpoint_id=folder)
    (file,) = folder.glob("*.distcp")
    torch.save(Canary(canary), tmp_path / "chunk")
    image = (tmp_path / "chunk").read_bytes()
    assert len(image) < file.stat().st_size / 2  # so that it fits where the first tensor is
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    next(place for place in metadata.storage_data.values() if not place.offset).length = len(image)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    file.write_bytes(image + file.read_bytes()[len(image) :])
    with pytest.raises(UnsafeError, match="holds pickled code"):
        read_checkpoint(folder)
    assert not canary.exists()


def test_what_is_read_past_is_not_even_imported(tmp_path, canary, monkeypatch):
    """The class is of a module that sings when it is imported."""
    (tmp_path / "settings.py").write_text("class Settings:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings = importlib.import_module("settings")
    path = tmp_path / "model.pt"
    torch.save({"state_dict": WEIGHTS, "settings": settings.Settings()}, path)
    del sys.modules["settings"]
    (tmp_path / "settings.py").write_text(
        f"open({str(canary)!r}, 'w').close()\nclass Settings: ..."
    )
    assert "pickled code left unread: settings.Settings" in read_checkpoint(path).notes
    assert not canary.exists()
    importlib.invalidate_caches()
    torch.load(path, weights_only=False)
    assert canary.exists()


def test_arrays_of_objects_are_not_unpickled(tmp_path, canary):
    np.savez(tmp_path / "model.npz", a=np.array([Canary(canary)], dtype=object))
    with pytest.raises(InputError, match="not plain numbers"):
        read_checkpoint(tmp_path / "model.npz")
    assert not canary.exists()
    np.load(tmp_path / "model.npz", allow_pickle=True)["a"]
    assert canary.exists()

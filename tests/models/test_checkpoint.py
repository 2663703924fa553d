"""Every kind of file that people hand over: read, or refused by name and with the right kind."""

import argparse
import hashlib
import json
import os
import pickle
import zipfile
from collections import defaultdict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from condcli.errors import CondcliError, InputError, UnsafeError
from condcli.models import ZOO, read_checkpoint, write_checkpoint
from tests.canary import Canary
from tests.models import saving


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return ZOO["mlp"](inputs=6, classes=3, depth=2, width=4).state_dict()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.pt"


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


def assert_equal(read, expected):
    assert list(read) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(read[name], tensor, rtol=0, atol=0)


def test_a_bare_state_dict_is_read(file, weights):
    checkpoint = read_checkpoint(saved(file, weights))
    assert_equal(checkpoint.state_dict, weights)
    assert checkpoint.format == "torch.save"
    assert checkpoint.contents == "a state_dict of 4 tensors"
    assert checkpoint.notes == ()


def test_the_old_format_of_torch_is_read(file, weights):
    saved(file, weights, _use_new_zipfile_serialization=False)
    assert_equal(read_checkpoint(file).state_dict, weights)


def test_a_safetensors_file_is_read_whatever_its_name(file, weights):
    save_file(weights, file)
    checkpoint = read_checkpoint(file)
    assert checkpoint.format == "safetensors"
    assert_equal(dict(sorted(checkpoint.state_dict.items())), dict(sorted(weights.items())))


@pytest.mark.parametrize(
    "place",
    [["state_dict"], ["model_state_dict"], ["model"], ["net"], ["ema"], ["model", "state_dict"],
     ["generator"]],
)  # fmt: skip
def test_nested_weights_are_found_and_the_place_is_told(file, weights, place):
    content = weights
    for key in reversed(place):
        content = {"epoch": 3, key: content, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    checkpoint = read_checkpoint(saved(file, content))
    assert_equal(checkpoint.state_dict, weights)
    assert checkpoint.notes == (f"weights from {'.'.join(place)}",)


def test_the_trained_weights_go_before_their_average_and_both_are_told(file, weights):
    average = {name: 0 * tensor for name, tensor in weights.items()}
    checkpoint = read_checkpoint(saved(file, {"ema": average, "model": {"state_dict": weights}}))
    assert_equal(checkpoint.state_dict, weights)
    assert checkpoint.notes == ("weights from model.state_dict (there are also ema)",)


def test_several_unknown_places_are_not_guessed_between(file, weights):
    with pytest.raises(InputError, match="several state_dicts: 'actor', 'critic'"):
        read_checkpoint(saved(file, {"actor": weights, "critic": weights}))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_wrappers_prefixes_are_stripped_and_told(file, weights, prefix):
    saved(file, {prefix + name: tensor for name, tensor in weights.items()})
    checkpoint = read_checkpoint(file)
    assert_equal(checkpoint.state_dict, weights)
    assert checkpoint.prefix == prefix
    assert checkpoint.notes == (f"prefix {prefix} stripped from the tensors' names",)


def test_a_prefix_that_not_all_tensors_share_stays(file, weights):
    mixed = {"model.a": torch.ones(1), "loss.b": torch.ones(1)}
    assert_equal(read_checkpoint(saved(file, mixed)).state_dict, mixed)


def test_a_written_checkpoint_describes_itself(file, weights):
    write_checkpoint(
        file, weights, arch="mlp", arch_args={"depth": 2}, step=7, data="digits", normalize="none"
    )
    checkpoint = read_checkpoint(file)
    assert_equal(checkpoint.state_dict, weights)
    assert (checkpoint.arch, checkpoint.arch_args) == ("mlp", {"depth": 2})
    assert (checkpoint.step, checkpoint.data, checkpoint.normalize) == (7, "digits", "none")
    assert checkpoint.contents == "arch, arch_args, state_dict, step, data, normalize"
    assert os.listdir(file.parent) == [file.name]


def test_the_sha256_is_the_files(file, weights):
    saved(file, weights)
    assert read_checkpoint(file).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_pickled_module_needs_trust(file):
    saved(file, nn.Linear(3, 2))
    with pytest.raises(UnsafeError, match=r"torch\.nn\.modules\.linear\.Linear.*--trust"):
        read_checkpoint(file)


@pytest.mark.parametrize("wrap", [lambda module: module, lambda module: {"model": module}])
def test_a_trusted_pickled_module_is_read(file, wrap):
    module = nn.Linear(3, 2)
    checkpoint = read_checkpoint(saved(file, wrap(module)), trust=True)
    assert checkpoint.state_dict is None
    assert_equal(checkpoint.module.state_dict(), module.state_dict())
    assert checkpoint.notes[0] == "its pickled code was run (--trust)"


def test_trust_runs_no_code_that_is_not_needed(file, weights):
    assert read_checkpoint(saved(file, weights), trust=True).notes == ()


def test_a_trusted_class_that_is_nowhere_is_named(file, monkeypatch):
    class Vanished(nn.Linear):
        pass

    Vanished.__qualname__ = "Vanished"
    monkeypatch.setattr(f"{__name__}.Vanished", Vanished, raising=False)
    saved(file, Vanished(3, 2))
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"Vanished'\) whose definition cannot be imported"):
        read_checkpoint(file, trust=True)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_code_in_a_pickle_is_never_run_unasked(tmp_path, file, how, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    canary = tmp_path / "canary"
    content = {"state_dict": {"a": torch.ones(2)}, "extra": Canary(canary)}
    if how == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        saved(file, content, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(UnsafeError) as caught:
        read_checkpoint(file)
    assert not canary.exists()
    assert "weights_only" not in str(caught.value)
    if how != "pickle":  # the canary does sing
        read_checkpoint(file, trust=True)
        assert canary.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-LFS pointer"),
        (b"\n<!DOCTYPE html><html>Not found", "web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (b"\x1f\x8b\x08" + bytes(64), "gzip"),
        (b"GGUF" + bytes(64), "GGUF"),
        (b"\x93NUMPY\x01\x00" + bytes(64), "one NumPy array"),
        (b"\x08\x08\x12\x07pytorch\x1a\x052.9.0" + bytes(64), "an ONNX model"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(64), "TensorFlow Lite"),
        (b"\x81\xa6params\x82\xa5Dense" + bytes(64), "msgpack file, as Flax"),
        (b"sys_info" + bytes(249) + b"ustar" + bytes(250), r"torch before 0\.1\.10"),
        (bytes(257) + b"ustar" + bytes(250), "tar archive"),
        (b"epoch,loss\n1,2.3\n", "no checkpoint: it begins with b'epoch,lo'"),
        (b"\xff\x00\x00\x00\x00\x00\x00\x00{" + bytes(40), "truncated or damaged"),
    ],
)
def test_a_foreign_file_is_refused_by_what_it_is(file, content, said):
    file.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_checkpoint(file)
    assert str(file) in caught.value.message


def test_another_zip_is_no_checkpoint(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.json", json.dumps({}))
    with pytest.raises(InputError, match=r"zip archive, but not one of torch\.save"):
        read_checkpoint(file)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for path, said in [(tmp_path / "no.pt", "does not exist"),
                       (folder, "a folder without a checkpoint"),
                       (pipe, "not a regular file")]:  # fmt: skip
        with pytest.raises(InputError, match=said):
            read_checkpoint(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_refused_at_every_length(tmp_path, file, weights, kind):
    if kind == "safetensors":
        save_file(weights, file)
    else:
        saved(file, weights, _use_new_zipfile_serialization=kind == "zip")
    whole = file.read_bytes()
    cut = tmp_path / "cut.pt"
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        cut.write_bytes(whole[:length])
        with pytest.raises(CondcliError):
            read_checkpoint(cut)


def test_a_flipped_bit_in_a_weight_is_noticed(file, weights):
    saved(file, weights)
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index(weights["fc1.weight"].numpy().tobytes()) + 5] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(InputError, match="checksum"):
        read_checkpoint(file)


def test_a_flipped_bit_anywhere_gives_an_error_or_the_same_weights(file, weights):
    whole = saved(file, weights).read_bytes()
    refused = 0
    for k, place in enumerate(range(0, len(whole), 11)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << k % 8
        file.write_bytes(damaged)
        try:
            assert_equal(read_checkpoint(file).state_dict, weights)
        except CondcliError:
            refused += 1
    assert refused > 50  # of some 200: the rest hits padding and dates


def test_an_entry_that_looks_encrypted_is_damage(file, weights):
    damaged = bytearray(saved(file, weights).read_bytes())
    damaged[damaged.index(b"PK\x01\x02") + 8] ^= 1  # the flag in the central directory
    file.write_bytes(damaged)
    with pytest.raises(InputError, match="truncated or damaged"):
        read_checkpoint(file)


def test_a_deflated_archive_is_refused(tmp_path, file, weights):
    saved(file, weights)
    deflated = tmp_path / "deflated.pt"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(deflated, "w", 8) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    with pytest.raises(InputError, match="compressed entries"):
        read_checkpoint(deflated)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_are_named(file, weights, bad, dtype):
    weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
    weights["fc2.weight"][0, 1] = bad
    with pytest.raises(InputError, match=r"'fc2\.weight' has NaN or infinite"):
        read_checkpoint(saved(file, weights))


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.ones(1).expand(1 << 40), "claims 1,099,511,627,776 numbers"),
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.ones(2, device="meta"), "no data"),
        (torch.ones(2, dtype=torch.complex64), "complex"),
    ],
)
def test_a_tensor_that_is_no_plain_weight_is_named(file, tensor, said):
    with pytest.raises(InputError, match=f"'odd' .*{said}"):
        read_checkpoint(saved(file, {"odd": tensor}))


def test_a_dict_within_itself_ends(file):
    loop = {"epoch": 1}
    loop["model"] = loop["state_dict"] = loop
    with pytest.raises(InputError, match="no state_dict"):
        read_checkpoint(saved(file, loop))


@pytest.mark.parametrize(
    ("content", "said"),
    [({}, "an empty dict"), ({"epoch": 3}, "a dict of 'epoch'"), ([1, 2], "one list"),
     (torch.ones(3), "one Tensor")],
)  # fmt: skip
def test_a_checkpoint_without_weights_says_what_it_holds(file, content, said):
    with pytest.raises(InputError, match=said):
        read_checkpoint(saved(file, content))


def test_reading_leaves_the_file_as_it_was(file, weights):
    before = saved(file, weights).read_bytes()
    read_checkpoint(file)
    assert file.read_bytes() == before


class AttributeDict(dict):
    """As Lightning and others pickle their settings."""


class Settings:
    def __init__(self):
        self.parts = [1, {"lr": 0.1}]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("beside", "names"),
    [
        (argparse.Namespace(lr=0.1), "argparse.Namespace"),
        (Settings(), f"{__name__}.Settings"),
        (AttributeDict(lr=0.1), f"{__name__}.AttributeDict"),
        (defaultdict(list, a=[1]), "collections.defaultdict, builtins.list"),
        (np.float64(3), "numpy._core.multiarray.scalar, numpy.dtype"),
        (torch.optim.swa_utils.SWALR, "torch.optim.swa_utils.SWALR"),
        (torch.optim.lr_scheduler.StepLR, "torch.optim.lr_scheduler.StepLR"),
    ],
)
def test_pickled_objects_beside_the_weights_are_read_past(file, weights, beside, names, legacy):
    content = {"model": weights, "beside": [beside], "step": 3}
    saved(file, content, _use_new_zipfile_serialization=not legacy)
    for trust in (False, True):  # what is not needed is not run
        checkpoint = read_checkpoint(file, trust=trust)
        assert_equal(checkpoint.state_dict, weights)
        assert checkpoint.step == 3
        assert checkpoint.notes[0].startswith(f"pickled code left unread: {names}")


def test_a_pickled_module_beside_the_weights_is_read_past(file, weights):
    checkpoint = read_checkpoint(saved(file, {"model": weights, "loss": nn.CrossEntropyLoss()}))
    assert "left unread: torch.nn.modules.loss.CrossEntropyLoss" in checkpoint.notes[0]
    assert_equal(checkpoint.state_dict, weights)


def test_a_pickled_module_at_the_chosen_place_needs_trust(file, weights):
    saved(file, {"model": weights, "ema": nn.Linear(3, 2)})
    assert_equal(read_checkpoint(file).state_dict, weights)
    with pytest.raises(UnsafeError, match=r"linear\.Linear.*--trust"):
        read_checkpoint(file, weights="ema")
    assert read_checkpoint(file, weights="ema", trust=True).module is not None


def test_an_infinite_mask_is_no_damage(file, weights):
    mask = torch.full((3, 3), -torch.inf).triu(1)
    assert "mask" in read_checkpoint(saved(file, weights | {"mask": mask})).state_dict
    with pytest.raises(InputError, match="'mask' has NaN"):
        read_checkpoint(saved(file, weights | {"mask": mask * 0}))


def test_arrays_that_unpack_to_far_more_than_the_file_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(10**6))
    with pytest.raises(InputError, match="unpacks to 8,000,"):
        read_checkpoint(tmp_path / "bomb.npz")


def test_compressed_arrays_are_read_and_damaged_ones_refused(tmp_path, weights):
    path = tmp_path / "model.npz"
    np.savez_compressed(path, **{name: tensor.numpy() for name, tensor in weights.items()})
    assert_equal(read_checkpoint(path).state_dict, weights)
    whole = path.read_bytes()
    for place in range(0, len(whole), 13):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        try:
            read = read_checkpoint(path).state_dict
        except CondcliError:
            continue
        for name in read.keys() & weights.keys():
            torch.testing.assert_close(read[name], weights[name], rtol=0, atol=0)


@pytest.mark.timeout(20)
def test_dicts_that_share_dicts_are_searched_once(file):
    shared = {"a": 1}
    for _ in range(4):
        shared = {f"part{k}": shared for k in range(1000)}
    with pytest.raises(InputError, match="no state_dict"):
        read_checkpoint(saved(file, shared))


def test_weights_that_layers_share_are_read_and_a_claim_of_one_memory_by_all_is_refused(file):
    shared = torch.ones(50, 4)
    few = {f"layer{k}.weight": shared for k in range(48)}
    assert len(read_checkpoint(saved(file, few)).state_dict) == 48
    many = {f"layer{k}.weight": shared for k in range(100)}
    with pytest.raises(InputError, match="its 100 tensors claim 80,000 bytes, but share 800;"):
        read_checkpoint(saved(file, many))


@pytest.mark.parametrize(("step", "read"), [(2**63 - 1, 2**63 - 1), (2**70, 3), (-1, 3)])
def test_a_step_that_no_file_can_hold_is_none(file, weights, step, read):
    content = {"global_step": step, "iteration": 3, "model": weights}
    assert read_checkpoint(saved(file, content)).step == read


@pytest.mark.parametrize("save", [saving.exported_program, saving.torchscript])
def test_a_flipped_bit_in_the_weights_of_a_program_is_noticed(tmp_path, save):
    net = ZOO["resnet"](depth=8, width=4)
    path = save(tmp_path, net)
    whole = path.read_bytes()
    place = whole.index(next(net.parameters()).detach().numpy().tobytes()[:40])
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(InputError, match="does not have its checksum"):
        read_checkpoint(path, trust=True)
    path.write_bytes(whole)
    assert read_checkpoint(path, trust=True).files == (path,)

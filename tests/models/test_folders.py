"""Folders and indexes: what is read, and what to type where there is not one checkpoint."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file

from condcli.errors import CannotFinishError, InputError
from condcli.models import read_checkpoint
from condcli.statsfile import check_output
from tests.models import saving

WEIGHTS = {"a": torch.ones(2), "b": torch.ones(3)}


@pytest.fixture
def sharded(tmp_path):
    save_file({"a": WEIGHTS["a"]}, tmp_path / "1.safetensors")
    save_file({"b": WEIGHTS["b"]}, tmp_path / "2.safetensors")
    return indexed(tmp_path, {"a": "1.safetensors", "b": "2.safetensors"})


def indexed(folder, places):
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def test_the_sha256_of_several_files_is_that_of_sha256sum(sharded):
    names = ["1.safetensors", "2.safetensors", "model.safetensors.index.json"]
    lines = [f"{hashlib.sha256((sharded / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    checkpoint = read_checkpoint(sharded)
    assert checkpoint.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert checkpoint.size == sum((sharded / name).stat().st_size for name in names)
    assert checkpoint.format == "safetensors, 2 files"


def test_a_missing_shard_is_named(sharded):
    (sharded / "2.safetensors").unlink()
    with pytest.raises(InputError, match=r"1 of 2 files are missing: 2\.safetensors; put"):
        read_checkpoint(sharded)


def test_a_missing_tensor_is_named(sharded):
    indexed(sharded, {"a": "1.safetensors", "c": "2.safetensors"})
    with pytest.raises(InputError, match="1 tensors are in none of its files: c"):
        read_checkpoint(sharded)


@pytest.mark.parametrize("place", ["../secret.safetensors", "/etc/passwd", "..", 3, "in/side"])
def test_an_index_reaches_no_file_elsewhere(sharded, place):
    with pytest.raises(InputError, match="no file beside it"):
        read_checkpoint(indexed(sharded, {"a": place}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', "[" * 100_000, "\xff"])
def test_a_damaged_index_is_refused(sharded, text):
    index = sharded / "model.safetensors.index.json"
    index.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"index\.json"):
        read_checkpoint(index)


def test_the_only_checkpoint_in_a_folder_is_read_whatever_its_name(tmp_path):
    torch.save(WEIGHTS, tmp_path / "best.pth")
    torch.save({"state": {}}, tmp_path / "optimizer.pt")
    (tmp_path / "README.md").write_text("# A model")
    assert read_checkpoint(tmp_path).files == (tmp_path / "best.pth",)


def test_among_several_one_must_be_named(tmp_path):
    for name in ("epoch1.pt", "epoch2.pt"):
        torch.save(WEIGHTS, tmp_path / name)
    with pytest.raises(InputError, match=rf"epoch1\.pt, epoch2\.pt; name one: {tmp_path}/epoch2"):
        read_checkpoint(tmp_path)


def test_a_folder_of_checkpoint_folders_names_the_latest(tmp_path):
    for step in (1, 2):
        (tmp_path / f"checkpoint-{step}").mkdir()
        torch.save(WEIGHTS, tmp_path / f"checkpoint-{step}" / "model.pt")
    with pytest.raises(InputError, match=rf"name one: {tmp_path}/checkpoint-2"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("adapter_config.json", "LoRA.*merge_and_unload"),
        ("zero_to_fp32.py", r"DeepSpeed checkpoint; run the zero_to_fp32\.py"),
        ("saved_model.pb", "TensorFlow"),
        ("tf_model.h5", "from_tf=True"),
        ("flax_model.msgpack", "from_flax=True"),
        ("README.md", "without a checkpoint"),
    ],
)
def test_another_librarys_folder_is_refused_by_what_it_is(tmp_path, name, said):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=said):
        read_checkpoint(tmp_path)


def test_an_adapter_is_told_even_beside_its_weights(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    save_file(WEIGHTS, tmp_path / "adapter_model.safetensors")
    with pytest.raises(InputError, match="without its base model"):
        read_checkpoint(tmp_path)


def test_a_sharded_file_may_be_of_either_format(tmp_path):
    net = torch.nn.Linear(3, 2)
    for save in (saving.sharded_bins, saving.sharded_safetensors):
        folder = tmp_path / save.__name__
        folder.mkdir()
        read = read_checkpoint(save(folder, net)).state_dict
        torch.testing.assert_close(dict(read), dict(net.state_dict()), rtol=0, atol=0)


def test_no_output_takes_the_place_of_a_file_of_the_checkpoint(sharded):
    inputs = [sharded]
    with pytest.raises(CannotFinishError, match="is also an input"):
        check_output(sharded / "1.safetensors", force=True, inputs=inputs)
    check_output(sharded / "stats.h5", inputs=inputs)
    check_output(sharded.parent / "stats.h5", inputs=inputs)

import json
import sys

import numpy as np
import pytest
import torch
from datasets import Array2D, ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as Pillow

from condcli.data import open_data
from condcli.errors import InputError, UsageError
from tests.data.tokenizers import word_tokenizer

SENTENCES = ["the cat sat", "a dog", "the cat sat on the mat", "mat"]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "saved"


def gathered(spec, batch_size=3, **options):
    probe_set = open_data(str(spec), samples=None, **options)
    return list(probe_set.batches(batch_size)), probe_set


def test_token_columns_are_padded_to_the_longest_with_masks(folder):
    tokens = [[5, 6], [7], [8, 9, 10, 11], [3, 4, 5]]
    columns = {
        "input_ids": tokens,
        "token_type_ids": [[0] * len(row) for row in tokens],
        "labels": [[1] * len(row) for row in tokens],
        "sentence": SENTENCES,
        "idx": [0, 1, 2, 3],
    }
    Dataset.from_dict(columns).save_to_disk(folder)
    for batch_size in (1, 4):
        batches, _ = gathered(folder, batch_size)
        inputs = {name: torch.cat([x[name] for x, _ in batches]) for name in batches[0][0]}
        assert sorted(inputs) == ["attention_mask", "input_ids", "token_type_ids"]
        for row, ids in enumerate(tokens):
            padding = 4 - len(ids)
            assert inputs["input_ids"][row].tolist() == ids + [0] * padding
            assert inputs["attention_mask"][row].tolist() == [1] * len(ids) + [0] * padding
            targets = torch.cat([y for _, y in batches])[row]
            assert targets.tolist() == [1] * len(ids) + [-100] * padding


def test_tokens_without_labels_are_their_own_target(folder):
    rows = {"input_ids": [[5, 6, 0], [7, 8, 9]], "attention_mask": [[1, 1, 0], [1, 1, 1]]}
    Dataset.from_dict(rows).save_to_disk(folder)
    [(inputs, targets)], _ = gathered(f"hfdataset:{folder}")
    assert targets.tolist() == [[5, 6, -100], [7, 8, 9]]
    assert inputs["input_ids"].tolist() == rows["input_ids"]


def test_raw_text_is_tokenised_and_labels_have_their_names(folder, tmp_path):
    words = word_tokenizer(tmp_path / "tokenizer.json", " ".join(SENTENCES))
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    columns = {"sentence": SENTENCES, "label": [1, 0, 0, 1]}
    Dataset.from_dict(columns, features=features).save_to_disk(folder)
    [(inputs, targets)], probe_set = gathered(
        folder, batch_size=4, tokenizer=str(tmp_path), length=4
    )
    assert targets.tolist() == [1, 0, 0, 1]
    assert (probe_set.classes, probe_set.class_names) == (2, ("bad", "good"))
    for row, sentence in enumerate(SENTENCES):
        ids = [words[word] for word in sentence.split()][:4]
        assert inputs["input_ids"][row].tolist() == ids + [0] * (4 - len(ids))


def test_the_labels_of_tokens_have_their_names(folder):
    features = Features(
        {"input_ids": List(Value("int32")), "labels": List(ClassLabel(names=["O", "B", "I"]))}
    )
    columns = {"input_ids": [[4, 5]], "labels": [[0, 2]]}
    Dataset.from_dict(columns, features=features).save_to_disk(folder)
    _, probe_set = gathered(folder)
    assert probe_set.class_names == ("O", "B", "I")


def test_images_come_as_tensors_and_through_a_transform(folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), dtype=np.uint8)
    images = [Pillow.fromarray(image) for image in pixels]
    features = Features({"img": Image(), "fine": Value("int64"), "coarse": Value("int64")})
    columns = {"img": images, "fine": [2, 0, 1], "coarse": [0, 0, 1]}
    Dataset.from_dict(columns, features=features).save_to_disk(folder)
    [(inputs, targets)], _ = gathered(folder, target="fine")
    wanted = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    assert torch.equal(inputs, wanted)
    assert targets.tolist() == [2, 0, 1]
    (tmp_path / "mine.py").write_text("def corner(image):\n    return image.crop((0, 0, 2, 3))\n")
    [(inputs, _)], _ = gathered(folder, target="fine", transform=f"{tmp_path}/mine.py:corner")
    assert torch.equal(inputs, wanted[:, :, :3, :2])
    with pytest.raises(InputError, match="no target, only img; call it y"):
        open_data(str(folder))


def test_arrays_of_fixed_shape_are_inputs(folder):
    x = np.arange(12.0).reshape(3, 2, 2)
    features = Features({"field": Array2D((2, 2), "float32"), "y": Value("float32")})
    columns = {"field": x.tolist(), "y": [0.5, 1, 2]}
    Dataset.from_dict(columns, features=features).save_to_disk(folder)
    [(inputs, targets)], _ = gathered(folder)
    assert inputs.tolist() == x.tolist()
    assert targets.tolist() == [0.5, 1, 2]


def test_splits_are_chosen_by_name_and_train_is_the_first_choice(folder):
    def part(value):
        return Dataset.from_dict({"input_ids": [[value, value]]})

    DatasetDict({"test": part(1), "train": part(2)}).save_to_disk(folder)
    [(inputs, _)], probe_set = gathered(folder)
    assert (probe_set.split, inputs["input_ids"].tolist()) == ("train", [[2, 2]])
    [(inputs, _)], probe_set = gathered(folder, split="test")
    assert (probe_set.split, inputs["input_ids"].tolist()) == ("test", [[1, 1]])
    with pytest.raises(UsageError, match="has no split 'val'; give --split test or train"):
        open_data(str(folder), split="val")
    assert gathered(folder / "test")[1].split == "all"


def test_a_file_outside_the_folder_is_not_read(folder, tmp_path):
    Dataset.from_dict({"input_ids": [[1]]}).save_to_disk(folder)
    next(folder.glob("*.arrow")).rename(tmp_path / "other.arrow")
    state = json.loads((folder / "state.json").read_text())
    state["_data_files"] = [{"filename": "../other.arrow"}]
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match=r"names the file \.\./other\.arrow, outside"):
        open_data(str(folder))


def test_what_is_damaged_or_absent_is_refused_by_name(folder, tmp_path):
    with pytest.raises(InputError, match="saved: no data set of Hugging Face's"):
        open_data(f"hfdataset:{folder}")
    Dataset.from_dict({"input_ids": [[1, 2, 3]] * 50}).save_to_disk(folder)
    file = next(folder.glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InputError, match="saved: missing, truncated or damaged"):
        open_data(str(folder))
    file.unlink()
    with pytest.raises(InputError, match=f"{file.name} does not exist"):
        open_data(str(folder))


@pytest.mark.parametrize("columns", [{"input_ids": [[7] * 50] * 9}, {"text": ["some words"] * 99}])
def test_damage_that_arrow_would_follow_anywhere_is_found(folder, columns):
    """Arrow trusts the offsets in a file; a wrong one ends the process by a signal."""
    Dataset.from_dict(columns).save_to_disk(folder)
    file = next(folder.glob("*.arrow"))
    content = file.read_bytes()
    step = 50 if "input_ids" in columns else len("some words")
    offsets = np.arange(9, dtype=np.int32) * step
    place = content.index(offsets.tobytes()) + 4 * 4
    file.write_bytes(content[:place] + np.int32(2**31 - 1).tobytes() + content[place + 4 :])
    with pytest.raises(InputError, match=r"row 4: the value is missing or damaged"):
        list(open_data(str(folder), length=128).batches(9))


def test_a_missing_library_is_named_with_its_extra(folder, monkeypatch):
    Dataset.from_dict({"input_ids": [[1]]}).save_to_disk(folder)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"needs the library datasets; .*condcli\[hf\]"):
        open_data(str(folder))

import json

import pytest
import torch

from condcli.data import open_data
from condcli.errors import InputError, UsageError
from tests.data.tokenizers import word_tokenizer

TEXT = "the cat sat on the mat\nand the dog sat on the cat\n" * 20 + "grüße, the end\n"


def gathered(spec, **options):
    probe_set = open_data(spec, **options)
    inputs, targets = zip(*probe_set.batches(3), strict=True)
    return torch.cat(inputs), torch.cat(targets), probe_set


@pytest.fixture
def file(tmp_path):
    (tmp_path / "notes.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path / "notes.txt"


@pytest.mark.parametrize("length", [1, 7, 128])
def test_bytes_are_cut_into_windows_and_the_target_is_the_next_byte(file, length):
    inputs, targets, probe_set = gathered(f"text:{file}", length=length, samples=None)
    content = list(TEXT.encode())
    starts = range(0, len(content) - length, length)
    assert inputs.tolist() == [content[start : start + length] for start in starts]
    assert targets.tolist() == [content[start + 1 : start + length + 1] for start in starts]
    assert inputs.dtype == targets.dtype == torch.int64
    assert probe_set.classes is None


def test_windows_are_drawn_by_the_seed(file):
    every, _, _ = gathered(f"text:{file}", length=8, samples=None)
    drawn, _, probe_set = gathered(f"text:{file}", length=8, samples=10, seed=3)
    assert drawn.tolist() == every[probe_set.indices].tolist()


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_tokenizers_own_file_makes_the_tokens(file, tmp_path, as_folder):
    words = word_tokenizer(tmp_path / "tokenizer.json", TEXT)
    tokenizer = tmp_path if as_folder else tmp_path / "tokenizer.json"
    inputs, targets, _ = gathered(f"text:{file}", length=5, samples=None, tokenizer=str(tokenizer))
    tokens = [words[word] for word in TEXT.split()]
    assert inputs.flatten().tolist() == tokens[: inputs.numel()]
    assert targets.flatten().tolist() == tokens[1 : inputs.numel() + 1]
    assert inputs.numel() + 5 >= len(tokens)


def test_a_long_text_gives_the_same_tokens_piece_by_piece(tmp_path, monkeypatch, file):
    words = word_tokenizer(tmp_path / "tokenizer.json", TEXT)
    monkeypatch.setattr("condcli.data.text_files.PIECE", 30)
    inputs, _, _ = gathered(f"text:{file}", length=5, samples=None, tokenizer=str(tmp_path))
    assert inputs.flatten().tolist() == [words[word] for word in TEXT.split()][: inputs.numel()]


def test_a_text_that_is_too_short_says_what_fits(tmp_path):
    file = tmp_path / "short.txt"
    file.write_text("hello")
    with pytest.raises(InputError, match=r"short\.txt: 5 tokens are too few for 128 .*--length 4"):
        open_data(f"text:{file}")
    assert gathered(f"text:{file}", length=4)[1].tolist() == [list(b"ello")]
    file.write_text("")
    with pytest.raises(InputError, match=r"short\.txt: empty"):
        open_data(f"text:{file}")
    with pytest.raises(InputError, match=r"shirt\.txt: no such file; did you mean .*short\.txt"):
        open_data(f"text:{tmp_path / 'shirt.txt'}")


def test_bytes_that_are_not_utf8_are_named_with_their_place(tmp_path):
    word_tokenizer(tmp_path / "tokenizer.json", TEXT)
    file = tmp_path / "latin.txt"
    file.write_bytes(b"the cat\nth\xe9 cat\n")
    with pytest.raises(InputError, match=r"latin\.txt: byte 10 is not UTF-8; convert"):
        open_data(f"text:{file}", tokenizer=str(tmp_path), length=1)
    assert 0xE9 in gathered(f"text:{file}", length=4)[0]


def test_a_tokenizer_that_is_none_says_what_is_wanted(file, tmp_path):
    with pytest.raises(InputError, match=r"tokenizer\.json: no such tokenizer; give a folder"):
        open_data(f"text:{file}", tokenizer=str(tmp_path))
    with pytest.raises(InputError, match=r"notes\.txt: not a tokenizer of Hugging Face"):
        open_data(f"text:{file}", tokenizer=str(file))
    word_tokenizer(tmp_path / "tokenizer.json", "other words")
    content = (tmp_path / "tokenizer.json").read_text().replace('"[UNK]":0', '"[UNC]":0')
    (tmp_path / "tokenizer.json").write_text(content.replace('"[UNK]": 0', '"[UNC]": 0'))
    with pytest.raises(InputError, match=r"tokenizer\.json: fails on the text \(.*\[UNK\]"):
        open_data(f"text:{file}", tokenizer=str(tmp_path))
    with pytest.raises(UsageError, match="--length 0 is not positive"):
        open_data(f"text:{file}", length=0)


LINES = [{"text": "the cat sat", "label": 1}, {"text": "a dog", "label": 0}, {"text": "é" * 20}]


def write_lines(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_lines_of_text_are_padded_examples_that_predict_themselves(tmp_path):
    spec = write_lines(tmp_path / "set.jsonl", [{"text": row["text"]} for row in LINES])
    inputs, targets = next(open_data(spec, length=12).batches(3))
    for row, line in enumerate(LINES):
        tokens = list(line["text"].encode())[:12]
        padding = 12 - len(tokens)
        assert inputs["input_ids"][row].tolist() == tokens + [0] * padding
        assert inputs["attention_mask"][row].tolist() == [1] * len(tokens) + [0] * padding
        assert targets[row].tolist() == tokens + [-100] * padding


def test_labelled_lines_are_classified_with_the_tokenizers_special_tokens(tmp_path):
    words = word_tokenizer(tmp_path / "tokenizer.json", TEXT, special=True)
    spec = write_lines(tmp_path / "set.jsonl", LINES[:2])
    inputs, targets = next(open_data(spec, length=4, tokenizer=str(tmp_path)).batches(2))
    assert targets.tolist() == [1, 0]
    first, second = inputs["input_ids"].tolist()
    assert first == [words["[CLS]"], words["the"], words["cat"], words["[SEP]"]]
    assert second == [words["[CLS]"], words["[UNK]"], words["dog"], words["[SEP]"]]


def test_a_line_without_text_is_named(tmp_path):
    spec = write_lines(tmp_path / "set.jsonl", [{"text": "a"}, {"text": ""}])
    with pytest.raises(InputError, match=r"set\.jsonl: column 'text', row 2: no text"):
        list(open_data(spec).batches(2))
    write_lines(tmp_path / "set.jsonl", [{"text": "a"}, {"text": None}])
    with pytest.raises(InputError, match=r"set\.jsonl: column 'text', row 2: the value is missing"):
        list(open_data(spec).batches(2))


@pytest.mark.parametrize("place", [0, 5, 8, 9])
def test_the_first_byte_that_is_not_utf8_is_found_across_pieces(tmp_path, monkeypatch, place):
    monkeypatch.setattr("condcli.data.encoding.PIECE", 3)
    text = "aé" * 3 + "€"
    file = tmp_path / "set.jsonl"
    file.write_bytes(text.encode()[:place] + b"\xff" + text.encode()[place:])
    try:
        file.read_bytes().decode()
    except UnicodeDecodeError as error:
        first = error.start
    with pytest.raises(InputError, match=rf"set\.jsonl: byte {first} is not UTF-8; convert it"):
        open_data(str(file))

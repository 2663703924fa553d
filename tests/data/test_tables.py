import csv
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from condcli.data import open_data
from condcli.errors import InputError, UsageError

ROWS = [
    {"height": 1.5, "age": 30, "member": True, "price": 9.25, "kind": "dog", "level": 2},
    {"height": -2.0, "age": 41, "member": False, "price": 0.5, "kind": "cat", "level": 0},
    {"height": 3e-4, "age": 7, "member": True, "price": 1e6, "kind": "eel", "level": 1},
    {"height": 0.0, "age": 12, "member": False, "price": 3.0, "kind": "cat", "level": 2},
]
NUMBERS = [{key: value for key, value in row.items() if key != "kind"} for row in ROWS]


def write(file, rows, separator=","):
    if file.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows, indent=1))
    else:
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0], delimiter=separator)
            writer.writeheader()
            writer.writerows(rows)
    return str(file)


def gathered(spec, **options):
    probe_set = open_data(spec, samples=None, **options)
    inputs, targets = zip(*probe_set.batches(3), strict=True)
    return torch.cat(inputs), torch.cat(targets), probe_set


@pytest.fixture(params=["set.csv", "set.tsv", "set.parquet", "set.jsonl", "set.json"])
def file(request, tmp_path):
    return tmp_path / request.param


def test_numbers_beside_the_target_are_features_in_their_order(file):
    spec = write(file, NUMBERS, "\t" if file.suffix == ".tsv" else ",")
    inputs, targets, _ = gathered(spec, target="price")
    rows = [[row["height"], row["age"], row["member"], row["level"]] for row in NUMBERS]
    assert inputs.dtype == targets.dtype == torch.float64
    assert inputs.tolist() == rows
    assert targets.tolist() == [row["price"] for row in NUMBERS]


def test_integers_are_classes_and_words_are_classes_in_sorted_order(file):
    spec = write(file, ROWS, "\t" if file.suffix == ".tsv" else ",")
    with pytest.raises(InputError, match=r"column 'kind', row 1: 'dog' is no number"):
        open_data(spec, target="level")
    _, targets, probe_set = gathered(spec, target="kind")
    assert targets.tolist() == [1, 0, 2, 0]
    assert (probe_set.classes, probe_set.class_names) == (3, ("cat", "dog", "eel"))
    _, targets, probe_set = gathered(write(file, NUMBERS), target="level")
    assert (targets.tolist(), targets.dtype, probe_set.classes) == ([2, 0, 1, 2], torch.int64, None)


def test_classes_may_be_called_as_numbers_are(tmp_path):
    file = tmp_path / "cars.csv"
    file.write_text("a,engine\n" + "1,2.0\n2,electric\n3,1.6\n" * 3)
    _, targets, probe_set = gathered(str(file), target="engine")
    assert targets.tolist() == [1, 2, 0] * 3
    assert probe_set.class_names == ("1.6", "2.0", "electric")


def test_several_targets_are_as_many_outputs(file):
    inputs, targets, _ = gathered(write(file, NUMBERS), target="price,level")
    assert inputs.shape == (4, 3)
    assert targets.tolist() == [[row["price"], row["level"]] for row in NUMBERS]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_the_separator_is_told_from_the_first_line(tmp_path, separator):
    spec = write(tmp_path / "set.csv", NUMBERS, separator)
    assert gathered(spec, target="price")[0].shape == (4, 4)


def test_a_column_that_turns_to_fractions_late_is_of_fractions(tmp_path):
    file = tmp_path / "long.csv"
    file.write_text("a,y\n" + "1000000,0\n" * 120_000 + "1.5,1\n")
    inputs, targets = next(open_data(str(file), target="y", samples=None).batches(10**6))
    assert (inputs[-1].item(), targets[-1].item(), len(inputs)) == (1.5, 1, 120_001)


def test_row_numbers_that_pandas_wrote_are_no_feature(tmp_path):
    (tmp_path / "set.csv").write_text(",a, y\n0,5,1\n1,6,2\n")
    assert gathered(str(tmp_path / "set.csv"), target="y")[0].tolist() == [[5], [6]]


def test_standardised_features_have_mean_0_and_deviation_1_over_the_whole_split(tmp_path):
    x = np.random.default_rng(0).normal(1e6, [0.5, 300, 1], (500, 3))
    x[:, 2] = 4
    rows = [dict(zip("abc", row, strict=True), y=0) for row in x.tolist()]
    spec = write(tmp_path / "set.parquet", rows)
    probe_set = open_data(spec, target="y", samples=50, normalize="standardize")
    inputs, _ = next(probe_set.batches(50))
    scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    wanted = ((x - x.mean(axis=0)) / scale)[probe_set.indices]
    np.testing.assert_allclose(inputs, wanted, rtol=1e-9, atol=1e-9)
    assert probe_set.normalize == "standardize"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,y\n1,0\n,1\n", "column 'a', row 2: the value is missing; fill it in"),
        ("a,y\n1,0\n?,1\n", r"column 'a', row 2: '\?' is no number"),
        ("a,y\n1,\n2,1\n", "column 'y', row 1: the value is missing"),
        ("a,y\n1,0\ninf,1\n", "column 'a', row 2: the value is inf"),
        ("a,y\n1,0\n2020-01-01,1\n", "column 'a', row 2: '2020-01-01' is no number"),
        ("a,y\n1,0.25\n2,3.5\n3,0.7_5\n", "column 'y', row 3: '0.7_5' is no number"),
        ("a,y\n1,0.25\n2,x\n3,17\n", "column 'y', row 2: 'x' is no number"),
        ("a,y\n1,0\n1,2,3\n", "line 3 has 3 columns, and the first line 2"),
        ("1.5,2\n3,4\n", "the first line holds numbers, not the names"),
        ("a,a,y\n1,2,3\n", "two columns are called 'a'"),
        ("a,y\n", "no rows of data"),
        ("", r"not a sound \.csv file"),
    ],
)
def test_what_is_wrong_in_a_table_is_named_with_its_place(tmp_path, text, words):
    file = tmp_path / "set.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"set\.csv: {words}") as caught:
        open_data(str(file), target="y")
    assert "\n" not in str(caught.value)


def test_a_value_that_is_not_there_is_found_in_parquet_too(tmp_path):
    rows = [{"a": 1.0, "y": 0}, {"a": None, "y": 1}, {"a": float("nan"), "y": 1}]
    spec = write(tmp_path / "set.parquet", rows)
    with pytest.raises(InputError, match="column 'a', row 2: the value is missing"):
        open_data(spec, target="y")
    with pytest.raises(InputError, match="column 'a', row 2: the value is nan"):
        open_data(write(tmp_path / "nan.parquet", rows[::2]), target="y")


def test_without_a_target_the_columns_are_listed(file):
    spec = write(file, NUMBERS)
    with pytest.raises(UsageError, match="give --target COLUMN, one of height, age, member, price"):
        open_data(spec)
    with pytest.raises(UsageError, match="has no column 'prize'; did you mean 'price'"):
        open_data(spec, target="prize")
    with pytest.raises(UsageError, match="has no column but the target"):
        open_data(spec, target=",".join(NUMBERS[0]))


@pytest.mark.parametrize(
    "text", ["[]", "[[1, 2]]", "[1]", "{}", '[{"a": 1}, {"a": "b"}]', "[" * 9999]
)
def test_json_that_is_no_table_is_refused(tmp_path, text):
    file = tmp_path / "set.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"set\.json: (not a sound|no rows)"):
        open_data(str(file), target="a")


def test_a_key_that_only_later_objects_have_is_a_missing_value(tmp_path):
    file = tmp_path / "set.json"
    file.write_text('[{"y": 1, "a": 2}, {"y": 1, "a": 3, "b": 4}]')
    with pytest.raises(InputError, match="column 'b', row 1: the value is missing"):
        open_data(str(file), target="y")


def test_a_flipped_byte_in_parquet_with_checksums_is_found(tmp_path):
    table = pa.table({"a": np.arange(1000.0), "y": np.zeros(1000)})
    file = tmp_path / "set.parquet"
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    parquet.write_table(table, file, **options)
    content = bytearray(file.read_bytes())
    content[content.index(np.float64(500).tobytes()) + 6] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"set\.parquet: not a sound"):
        open_data(str(file), target="y")


def test_a_damaged_file_is_refused_by_name(file):
    write(file, NUMBERS)
    content = file.read_bytes()
    for length in (0, 1, len(content) // 2):
        file.write_bytes(content[:length])
        with pytest.raises((InputError, UsageError), match=file.name) as caught:
            open_data(str(file), target="price")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "option", [{"tokenizer": "bytes"}, {"length": 5}, {"transform": "m:f"}, {"download": True}]
)
def test_what_numbers_have_no_use_for_is_wrong_usage(tmp_path, option):
    spec = write(tmp_path / "set.csv", NUMBERS)
    with pytest.raises(UsageError, match=f"--{next(iter(option))} .*has no use for .*set.csv"):
        open_data(spec, target="price", **option)


def test_columns_of_lists_are_arrays_by_their_names(tmp_path):
    x = np.arange(24.0).reshape(4, 2, 3)
    rows = [{"x": part.tolist(), "id": f"row {i}", "label": i} for i, part in enumerate(x)]
    inputs, targets, _ = gathered(write(tmp_path / "set.parquet", rows))
    assert inputs.tolist() == x.tolist()
    assert targets.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("line", ["null:", "null", "[1]", '{"a": 1}null:', "3"])
def test_a_line_that_is_no_object_is_refused(line, tmp_path):
    """pyarrow 26 ends by SIGSEGV on the first of these."""
    (tmp_path / "set.jsonl").write_text(f'{{"a": 1, "price": 2}}\n{line}\n')
    with pytest.raises(InputError, match=r"set\.jsonl: not a sound \.jsonl file"):
        open_data(str(tmp_path / "set.jsonl"), target="price")

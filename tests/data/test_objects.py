from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from condcli.data import as_probe_set, from_tensors, open_data
from condcli.errors import InputError, UsageError

X, Y = torch.arange(60.0).reshape(20, 3), torch.arange(20)


def probe_set_of(data, samples=None, seed=0, normalize=None):
    return as_probe_set(data, source="memory", samples=samples, seed=seed, normalize=normalize)


def gathered(probe_set, batch_size=7):
    inputs, targets = zip(*probe_set.batches(batch_size), strict=True)
    return torch.cat(inputs), torch.cat(targets)


class Noisy(Dataset):
    """Augments with torch's global generator, as torchvision's transforms do."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return X[index] + torch.rand(3), int(Y[index])


class Unending(IterableDataset):
    def __iter__(self):
        for number in count():
            yield X[number], Y[number]


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X.numpy(), Y.numpy()],
        TensorDataset(X, Y),
        DataLoader(TensorDataset(X, Y), batch_size=6),
        [(X[:6], Y[:6]), (X[6:], Y[6:])],
        iter([(X.numpy(), Y.numpy())]),
    ],
    ids=["pair", "arrays", "dataset", "loader", "list of batches", "generator"],
)
def test_every_form_gives_the_same_examples(data):
    probe_set = probe_set_of(data)
    assert (probe_set.examples, probe_set.classes) == (20, None)
    for _ in range(2):  # a generator too can be read twice
        inputs, targets = gathered(probe_set)
        assert torch.equal(inputs, X)
        assert torch.equal(targets, Y)


def test_from_tensors_takes_all_in_order():
    probe_set = from_tensors(X, Y, source="mine")
    assert probe_set.source == "mine"
    assert torch.equal(gathered(probe_set)[0], X)


def test_a_dataset_is_sampled_like_a_pair():
    drawn = probe_set_of(TensorDataset(X, Y), samples=6, seed=4)
    assert drawn.indices.tolist() == probe_set_of((X, Y), samples=6, seed=4).indices.tolist()
    assert gathered(drawn)[1].tolist() == drawn.indices.tolist()


def test_the_batches_of_a_loader_come_as_they_are():
    loader = DataLoader(TensorDataset(X, Y), batch_size=6)
    sizes = [len(inputs) for inputs, _ in probe_set_of(loader).batches(2)]
    assert sizes == [6, 6, 6, 2]


@pytest.mark.parametrize(
    ("samples", "sizes"),
    [(1, [1]), (6, [6]), (11, [6]), (12, [6, 6]), (19, [6, 6, 6]), (99, [6, 6, 6, 2])],
)
def test_samples_limit_the_whole_batches_of_a_loader(samples, sizes):
    probe_set = probe_set_of(DataLoader(TensorDataset(X, Y), batch_size=6), samples=samples)
    assert [len(inputs) for inputs, _ in probe_set.batches(100)] == sizes
    assert probe_set.examples == len(probe_set.indices) == sum(sizes)


def test_no_more_is_taken_from_an_iterable_than_needed():
    def endless():
        while True:
            yield X, Y

    assert probe_set_of(endless(), samples=40).examples == 40


def test_batches_of_an_iterable_are_normalised():
    probe_set = probe_set_of([(X, Y)], normalize="1/2")
    assert torch.equal(gathered(probe_set)[0], (X - 1) / 2)
    assert probe_set.normalize == "mean 1, std 2"


def test_token_batches_may_differ_in_length():
    batches = [(torch.ones(2, length, dtype=torch.int64),) * 2 for length in (5, 7)]
    shapes = [tuple(inputs.shape) for inputs, _ in probe_set_of(batches).batches(1)]
    assert shapes == [(2, 5), (2, 7)]


@pytest.mark.parametrize(
    "data",
    [Noisy(), DataLoader(Noisy(), batch_size=5, shuffle=True)],
    ids=["augmenting dataset", "shuffling loader"],
)
def test_randomness_is_seeded_and_torchs_generator_left_alone(data):
    state = torch.get_rng_state()
    first = gathered(probe_set_of(data))[0]
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert torch.equal(gathered(probe_set_of(data), 3)[0], first)
    assert not torch.equal(gathered(probe_set_of(data, seed=100))[0], first)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (5, "int is no kind of data; give"),
        ("mnist", "str is no kind of data"),
        ({"train": [1]}, "memory: no target, only train"),
        ([], "no batch"),
        ([X], "batch 0: a Tensor, not a pair"),
        ([(X, X, Y)], "batch 0: a tuple of 3, not a pair"),
        ([{"a": X, "b": Y}], "batch 0: no target, only a, b; call it y"),
        ([{"y": Y}], "batch 0: a target y and no input"),
        ([{"x": X, "y": Y, "Label": Y}], "batch 0: several targets, y, Label"),
        ([{"x": X, "y": Y, "name": ["a"] * 20}], r"batch 0\['name'\] holds <U1, not real numbers"),
        ([(X, Y), (X, Y[:5])], "batch 1: x has 20 examples, but y has 5"),
        ([(X[:0], Y[:0])], "batch 0: x is empty, of shape 0x3"),
        ([(X, 1)], "batch 0: y has 0 axes"),
        ([(X, "label")], "batch 0: y is of type str"),
        (TensorDataset(X[:0], Y[:0]), "empty"),
        ((X, Y[:5]), "x has 20 examples, but y has 5"),
    ],
)
def test_what_is_no_data_is_one_clear_error(data, words):
    with pytest.raises(InputError, match=words):
        list(probe_set_of(data).batches(7))


def test_examples_of_unequal_shapes_are_named():
    class Ragged(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return torch.zeros(index + 1), 0

    with pytest.raises(InputError, match=r"inputs have unequal shapes, such as \(1,\) and \(2,\)"):
        list(probe_set_of(Ragged()).batches(4))


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("RGB", 3), ("P", 3), ("RGBA", 3)]
)
def test_pictures_become_zero_to_one_with_their_channels_first(mode, channels):
    from PIL import Image

    pixels = np.full((4, 5, 3), 255, dtype=np.uint8)
    pixels[0, 1] = 0

    class Pictures(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return Image.fromarray(pixels).convert(mode), 0

    inputs, _ = gathered(probe_set_of(Pictures()))
    wanted = torch.from_numpy(pixels[..., :channels] / np.float32(255)).movedim(2, 0)
    assert torch.equal(inputs[0], wanted)


def test_of_a_stream_the_first_examples_are_taken():
    inputs, targets = gathered(probe_set_of(Unending(), samples=5))
    assert inputs.shape == (5, 3)
    assert targets.tolist() == [0, 1, 2, 3, 4]


def test_samples_and_seed_are_checked_for_batches_too():
    for options in ({"samples": 0}, {"seed": -1}):
        with pytest.raises(UsageError):
            probe_set_of([(X, Y)], **options)


@pytest.fixture
def code(tmp_path: Path):
    file = tmp_path / "mine.py"

    def write(text):
        file.write_text("import torch\nfrom torch.utils.data import *\n" + text)
        return f"{file}:data"

    return write


@pytest.mark.parametrize(
    "text",
    [
        "def data():\n    return torch.ones(8, 2), torch.zeros(8)\n",
        "def data():\n    return TensorDataset(torch.ones(8, 2), torch.zeros(8))\n",
        "def data():\n    yield torch.ones(5, 2), torch.zeros(5)\n"
        "    yield torch.ones(3, 2), torch.zeros(3)\n",
    ],
)
def test_a_function_in_a_file_gives_data(code, text):
    spec = code(text)
    probe_set = open_data(spec)
    assert probe_set.source == spec
    assert torch.equal(gathered(probe_set)[0], torch.ones(8, 2))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def data():\n    return 1 / 0\n", "line 4: ZeroDivisionError"),
        ("def data():\n    yield 1 / 0\n", "line 4: ZeroDivisionError"),
        ("def data(x):\n    return x\n", "TypeError: data.. missing 1 required"),
        ("def data():\n    return None\n", "NoneType is no kind of data"),
        ("def date():\n    return None\n", "has no function 'data'; did you mean 'date'"),
        (
            "class data(Dataset):\n    def __len__(self): return 3\n"
            "    def __getitem__(self, index): return [][index]\n",
            "line 5: IndexError",
        ),
    ],
)
def test_a_fault_in_the_users_file_is_one_line(code, text, words):
    with pytest.raises(InputError, match=words) as caught:
        list(open_data(code(text)).batches(2))
    assert "\n" not in str(caught.value)


def test_a_function_of_a_module_gives_data(code, tmp_path, monkeypatch):
    code("def data():\n    return torch.ones(8, 2), torch.zeros(8)\n")
    monkeypatch.chdir(tmp_path)
    assert open_data("mine:data").examples == 8

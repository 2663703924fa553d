"""Inputs and targets of several tensors, as pairs and by name."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from condcli.data import as_probe_set
from condcli.errors import InputError, UsageError

X, Z, Y = torch.arange(60.0).reshape(20, 3), torch.arange(40).reshape(20, 2), torch.arange(20)


class Items(Dataset):
    """A data set of whatever the function makes of an example's number."""

    def __init__(self, item, total=20):
        self.item, self.total = item, total

    def __len__(self):
        return self.total

    def __getitem__(self, index):
        if index >= self.total:
            raise IndexError(index)
        return self.item(index)


def gathered(data, batch_size=7, **options):
    probe_set = as_probe_set(data, source="memory", samples=None, seed=0, **options)
    inputs, targets = zip(*probe_set.batches(batch_size), strict=True)
    return joined(inputs), joined(targets)


def joined(batches):
    if isinstance(batches[0], dict):
        return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    if isinstance(batches[0], tuple):
        return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
    return torch.cat(batches)


NAMED = {
    "data in memory": {"left": X, "right": Z, "label": Y},
    "pair in memory": ({"left": X, "right": Z}, Y),
    "dataset of dicts": Items(lambda i: {"left": X[i], "right": Z[i], "label": int(Y[i])}),
    "dataset of pairs": Items(lambda i: ({"left": X[i], "right": Z[i]}, Y[i])),
    "dataset of lists": Items(
        lambda i: {"left": X[i].tolist(), "right": Z[i].tolist(), "label": i}
    ),
    "loader": DataLoader(Items(lambda i: {"left": X[i], "right": Z[i], "label": i}), 6),
    "batches": [{"left": X.numpy(), "right": Z.numpy(), "label": Y.numpy()}],
}
UNNAMED = {
    "pair in memory": ((X, Z), Y),
    "dataset": Items(lambda i: ((X[i], Z[i]), Y[i])),
    "loader": DataLoader(Items(lambda i: ((X[i], Z[i]), i)), 6),
    "batches": [((X[:8], Z[:8]), Y[:8]), ([X[8:], Z[8:]], Y[8:])],
}


@pytest.mark.parametrize("data", NAMED.values(), ids=NAMED)
def test_several_inputs_with_names_keep_them(data):
    inputs, targets = gathered(data)
    assert list(inputs) == ["left", "right"]
    assert torch.equal(inputs["left"].float(), X)
    assert torch.equal(inputs["right"], Z)
    assert torch.equal(targets, Y)


@pytest.mark.parametrize("data", UNNAMED.values(), ids=UNNAMED)
def test_several_inputs_without_names_are_a_tuple(data):
    inputs, targets = gathered(data)
    assert isinstance(inputs, tuple)
    assert torch.equal(inputs[0], X)
    assert torch.equal(inputs[1], Z)
    assert torch.equal(targets, Y)


@pytest.mark.parametrize("name", ["x", "pixel_values", "anything"])
@pytest.mark.parametrize("target", ["y", "Target", "targets", "label", "LABELS"])
def test_a_single_input_is_passed_alone(name, target):
    inputs, targets = gathered([{name: X, target: Y}])
    assert torch.equal(inputs, X)
    assert torch.equal(targets, Y)


@pytest.mark.parametrize("name", ["input_ids", "inputs_embeds"])
def test_what_models_take_only_by_name_keeps_it(name):
    inputs, _ = gathered([{name: Z, "y": Y}])
    assert torch.equal(inputs[name], Z)


def test_several_targets_are_let_through_for_a_loss_that_takes_them():
    _, targets = gathered((X, {"box": X, "kind": Y}))
    assert torch.equal(targets["box"], X)
    _, targets = gathered(Items(lambda i: (X[i], (X[i], i))))
    assert torch.equal(targets[1], Y)


def test_token_sequences_of_a_dataset_are_padded_with_their_masks():
    tokens = [list(range(1, 2 + number % 4)) for number in range(20)]
    inputs, targets = gathered(Items(lambda i: {"input_ids": tokens[i]}), batch_size=20)
    for row, ids in enumerate(tokens):
        padding = 4 - len(ids)
        assert inputs["input_ids"][row].tolist() == ids + [0] * padding
        assert inputs["attention_mask"][row].tolist() == [1] * len(ids) + [0] * padding
        assert targets[row].tolist() == ids + [-100] * padding


def test_a_label_for_the_sequence_is_not_padded():
    tokens = [[1], [2, 3]]
    data = Items(lambda i: {"input_ids": tokens[i], "labels": i}, total=2)
    inputs, targets = gathered(data)
    assert inputs["input_ids"].tolist() == [[1, 0], [2, 3]]
    assert targets.tolist() == [0, 1]


def test_masks_and_tokens_are_whole_numbers_and_other_truth_values_stay():
    batch = {
        "input_ids": Z.to(torch.uint8),
        "attention_mask": Z > 3,
        "flag": Z > 3,
        "picture": torch.full((20, 1, 2, 2), 255, dtype=torch.uint8),
        "y": Y,
    }
    inputs, _ = gathered([batch])
    assert [tensor.dtype for tensor in inputs.values()] == [
        torch.int64,
        torch.int64,
        torch.bool,
        torch.float32,
    ]
    assert (inputs["picture"] == 1).all()


def test_numbers_that_are_not_finite_are_found_in_any_part():
    bad = X.clone()
    bad[13] = float("nan")
    with pytest.raises(InputError, match="the input of example 13 holds NaN"):
        gathered(((X, bad), Y))
    with pytest.raises(InputError, match="the target of example 13 holds NaN"):
        gathered((X, {"a": Y, "b": bad}))


def test_parts_of_unequal_lengths_are_named():
    for data, words in [
        (({"a": X, "b": Z[:5]}, Y), "a has 20 examples, but b has 5"),
        (((X, Z[:5]), Y), r"x\[0\] has 20 examples, but x\[1\] has 5"),
        ((X, (Y, Y[:5])), r"x has 20 examples, but y\[1\] has 5"),
    ]:
        with pytest.raises(InputError, match=words):
            gathered(data)


def test_examples_of_unequal_parts_are_refused():
    odd = Items(lambda i: {"a": X[i], "b": X[i], "y": i} if i else {"a": X[i], "c": X[i], "y": i})
    with pytest.raises(InputError, match="inputs differ in what they consist of"):
        gathered(odd)
    ragged = Items(lambda i: {"a": [1.0] * (i + 1), "b": X[i], "y": i})
    with pytest.raises(InputError, match="a have unequal shapes"):
        gathered(ragged)


def test_several_inputs_are_not_normalised():
    with pytest.raises(UsageError, match="for one tensor of numbers, and the inputs are left 3"):
        gathered(NAMED["batches"], normalize="0/1")


@pytest.mark.parametrize("shape", [(500, 3), (40, 3, 5, 6)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_standardised_inputs_are_so_per_channel(shape, dtype):
    x = np.random.default_rng(0).uniform(0, 250, shape).astype(dtype)
    inputs, _ = gathered((x, np.zeros(len(x))), batch_size=1000, normalize="standardize")
    values = x / 255 if dtype == np.uint8 else x.astype(np.float64)
    axes = (0, *range(2, x.ndim))
    wanted = (values - values.mean(axes, keepdims=True)) / values.std(axes, keepdims=True)
    np.testing.assert_allclose(inputs, wanted, rtol=1e-4, atol=1e-5)


def test_standardising_needs_all_of_the_data_at_hand():
    for data in (TensorDataset(X, Y), [(X, Y)]):
        with pytest.raises(UsageError, match="standardize is for data in memory"):
            gathered(data, normalize="standardize")


def test_a_data_set_of_hugging_faces_in_memory_is_one():
    from datasets import Dataset as HuggingFaceDataset

    data = HuggingFaceDataset.from_dict({"input_ids": Z.tolist(), "label": Y.tolist()})
    inputs, targets = gathered(data)
    assert torch.equal(inputs["input_ids"], Z)
    assert torch.equal(targets, Y)

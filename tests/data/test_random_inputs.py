import numpy as np
import pytest
import torch

from condcli.data import open_data
from condcli.errors import UsageError


def gathered(probe_set, batch_size):
    inputs, targets = zip(*probe_set.batches(batch_size), strict=True)
    return torch.cat(inputs), torch.cat(targets)


def test_random_inputs_are_standard_normal_and_labels_uniform():
    probe_set = open_data("random:3x8x8", samples=5000).with_classes(7)
    assert probe_set.examples == 5000
    inputs, targets = gathered(probe_set, 1000)
    deviations = inputs.numpy().ravel()
    spread = 1 / np.sqrt(deviations.size)
    assert abs(deviations.mean()) < 5 * spread
    assert abs(deviations.var() - 1) < 5 * spread * np.sqrt(2)
    assert abs((deviations**4).mean() - 3) < 5 * spread * np.sqrt(96)
    counts = np.bincount(targets.numpy(), minlength=7)
    assert len(counts) == 7
    assert np.abs(counts - 5000 / 7).max() < 5 * np.sqrt(5000 / 7)
    assert len(np.unique(deviations)) > 0.9 * deviations.size


def test_batch_size_does_not_change_the_examples():
    probe_set = open_data("random:2x3", samples=50).with_classes(10)
    inputs, targets = gathered(probe_set, 50)
    for batch_size in (1, 7, 49):
        again = gathered(probe_set, batch_size)
        assert torch.equal(again[0], inputs)
        assert torch.equal(again[1], targets)


def test_the_first_examples_do_not_depend_on_how_many_follow():
    few = open_data("random:2x3", samples=4).with_classes(10)
    many = open_data("random:2x3", samples=40).with_classes(10)
    assert torch.equal(gathered(few, 4)[0], gathered(many, 8)[0][:4])


def test_another_seed_gives_other_examples():
    one, other = (
        gathered(open_data("random:2x3", samples=9, seed=seed).with_classes(10), 9)[0]
        for seed in (0, 1)
    )
    assert not (one == other).any()


def test_labels_need_the_number_of_classes():
    probe_set = open_data("random:5", samples=9)
    assert probe_set.classes is None
    with pytest.raises(UsageError, match=r"random:5 has no labels"):
        probe_set.batches(3)


def test_random_inputs_without_end_are_refused():
    with pytest.raises(UsageError, match="no end"):
        open_data("random:5", samples=None)


@pytest.mark.parametrize("shape", ["x", "3x", "0x3", "-1", "3x32x32x", "3,32", "a", "²"])
def test_a_shape_that_is_none_is_wrong_usage(shape):
    with pytest.raises(UsageError, match="has no shape; give sizes joined by x"):
        open_data(f"random:{shape}")

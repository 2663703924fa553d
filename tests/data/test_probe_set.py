import numpy as np
import pytest
import torch

from condcli.batch import Share
from condcli.data import as_probe_set, from_tensors
from condcli.errors import InputError, UsageError

COUNT = 107


def numbered(samples=None, seed=0, normalize=None):
    """Example i is (i, 2 i) with label i."""
    x = torch.arange(COUNT, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0])
    return as_probe_set(
        (x, torch.arange(COUNT)), source="numbers", samples=samples, seed=seed, normalize=normalize
    )


def gathered(probe_set, batch_size):
    inputs, targets = zip(*probe_set.batches(batch_size), strict=True)
    return torch.cat(inputs), torch.cat(targets)


@pytest.mark.parametrize("batch_size", [1, 2, 10, 53, 54, 106, 107, 1000])
def test_batches_differ_by_one_at_most_and_hold_every_example_once(batch_size):
    sizes = [len(inputs) for inputs, _ in numbered().batches(batch_size)]
    assert len(sizes) == -(-COUNT // batch_size)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    inputs, targets = gathered(numbered(), batch_size)
    assert targets.tolist() == list(range(COUNT))
    assert torch.equal(inputs[:, 1], 2.0 * targets)


def test_a_subset_is_fixed_by_the_seed_and_ascending():
    first, again, other = numbered(20), numbered(20), numbered(20, seed=1)
    assert first.examples == len(first.indices) == 20
    assert first.total == COUNT
    assert np.array_equal(first.indices, again.indices)
    assert not np.array_equal(first.indices, other.indices)
    assert (np.diff(first.indices) > 0).all()
    assert gathered(first, 7)[1].tolist() == first.indices.tolist()


def test_the_subset_of_a_seed_never_changes_between_versions():
    assert numbered(5, seed=3).indices.tolist() == [8, 18, 19, 25, 83]


@pytest.mark.parametrize("samples", [None, COUNT, 10_000])
def test_asking_for_more_than_there_are_gives_all(samples):
    assert numbered(samples).indices.tolist() == list(range(COUNT))


def test_every_reading_gives_the_same():
    probe_set = numbered(50)
    assert torch.equal(gathered(probe_set, 8)[0], gathered(probe_set, 50)[0])


def test_torchs_generator_is_left_alone():
    state = torch.get_rng_state()
    gathered(numbered(50), 8)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (torch.uint8, torch.float32),
        (torch.bool, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int32, torch.int64),
        (torch.int64, torch.int64),
    ],
)
def test_inputs_take_the_dtype_that_a_network_wants(given, seen):
    probe_set = from_tensors(torch.ones(3, 2).to(given), torch.zeros(3))
    inputs, _ = next(probe_set.batches(3))
    assert inputs.dtype == seen
    assert inputs[0, 0].item() == (np.float32(1 / 255) if given == torch.uint8 else 1)


@pytest.mark.parametrize(
    "array",
    [
        np.full((3, 2), 5, dtype=np.uint16),
        np.full((3, 2), 5, dtype=">i4"),
        np.full((3, 2), 5, dtype=np.longdouble),
        np.full((6, 2), 5.0)[::-2],
        np.broadcast_to(np.float32(5), (3, 2)),
    ],
    ids=["uint16", "big-endian", "longdouble", "negative strides", "read-only"],
)
def test_odd_arrays_are_read_right(array):
    inputs, _ = next(from_tensors(array, np.zeros(3)).batches(3))
    assert (inputs == 5).all()
    assert inputs.shape == (3, 2)


def test_labels_are_int64_and_regression_targets_stay_floats():
    for given, seen in [
        (torch.uint8, torch.int64),
        (torch.int32, torch.int64),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ]:
        probe_set = from_tensors(torch.ones(3, 2), torch.ones(3, dtype=given))
        assert next(probe_set.batches(3))[1].dtype == seen


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("which", ["input", "target"])
def test_the_first_example_that_is_not_finite_is_named(bad, which):
    arrays = {"input": torch.zeros(20, 3, 2), "target": torch.zeros(20, 4)}
    arrays[which][13].view(-1)[2] = bad
    arrays[which][17] = bad
    probe_set = from_tensors(arrays["input"], arrays["target"], source="it.npz")
    with pytest.raises(InputError, match=rf"it\.npz: the {which} of example 13 holds NaN"):
        list(probe_set.batches(6))


def test_a_label_that_is_no_output_is_named_with_its_example():
    probe_set = numbered().with_classes(100)
    with pytest.raises(InputError, match="example 100 has the label 100, but there are 100 class"):
        list(probe_set.batches(6))
    assert numbered().with_classes(COUNT).classes == COUNT
    assert len(list(numbered().with_classes(COUNT).batches(COUNT))) == 1


def test_a_negative_label_is_refused_except_the_one_that_means_unlabelled():
    x = torch.ones(2, 3)
    assert list(from_tensors(x, torch.tensor([-100, 1])).with_classes(2).batches(2))
    with pytest.raises(InputError, match="example 1 has the label -1"):
        list(from_tensors(x, torch.tensor([0, -1])).with_classes(2).batches(2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: numbered(0),
        lambda: numbered(-1),
        lambda: numbered(5, seed=-1),
        lambda: numbered(5, seed=2**70),
        lambda: numbered().batches(0),
    ],
)
def test_numbers_that_cannot_be_are_wrong_usage(call):
    with pytest.raises(UsageError, match=r"not positive|negative"):
        call()


def test_one_number_normalises_all_channels():
    inputs, _ = next(numbered(normalize="3/2").batches(COUNT))
    assert inputs.dtype == torch.float64
    assert inputs[5].tolist() == [(5 - 3) / 2, (10 - 3) / 2]
    assert numbered(normalize="3/2").normalize == "mean 3, std 2"


def test_each_channel_is_normalised_by_its_own_number():
    x = torch.rand(4, 3, 5, 6)
    probe_set = as_probe_set(
        (x, torch.zeros(4)), source="x", samples=None, seed=0, normalize="0.1,0.2,0.3/2,4,8"
    )
    inputs, _ = next(probe_set.batches(4))
    for channel, (mean, std) in enumerate([(0.1, 2), (0.2, 4), (0.3, 8)]):
        torch.testing.assert_close(inputs[:, channel], (x[:, channel] - mean) / std)
    assert probe_set.normalize == "mean 0.1, 0.2, 0.3, std 2, 4, 8"


@pytest.mark.parametrize("normalize", [None, "default", "none"])
def test_data_of_ones_own_are_not_normalised_unasked(normalize):
    assert numbered(normalize=normalize).normalize == "none"
    inputs, _ = next(numbered(normalize=normalize).batches(COUNT))
    assert inputs[5].tolist() == [5, 10]


@pytest.mark.parametrize(
    "text", ["", "0.5", "a/b", "1/2/3", "0.5/0", "0.5/-1", "nan/1", "0/inf", "1,/1", "Default"]
)
def test_a_normalisation_that_makes_no_sense_is_wrong_usage(text):
    with pytest.raises(
        UsageError, match=r"--normalize.*give none, default, standardize, or MEAN/STD"
    ):
        numbered(normalize=text)


def test_a_normalisation_for_other_channels_names_both_numbers():
    with pytest.raises(UsageError, match=r"gives 3 numbers .* have 2 channels; give one .*, or 2"):
        numbered(normalize="1,2,3/1")


def test_tokens_are_not_normalised():
    tokens = torch.ones(2, 3, dtype=torch.int64)
    for inputs, words in [(tokens, "tokens"), ((tokens * 1.0,) * 2, "the inputs are 3, 3")]:
        for normalize in ("1/2", "standardize"):
            with pytest.raises(UsageError, match=words):
                as_probe_set(
                    (inputs, torch.ones(2)),
                    source="tokens",
                    samples=None,
                    seed=0,
                    normalize=normalize,
                )


@pytest.mark.parametrize("shares", [1, 2, 3, 6])
def test_shares_hold_the_very_batches_of_the_whole(shares):
    probe_set = numbered()
    whole = list(probe_set.placed(20))
    placed = {}
    for number in range(shares):
        share = Share(number, shares)
        mine = list(probe_set.placed(20, share))
        assert probe_set.sizes(20, share) == [len(y) for _, (_, y) in mine]
        placed |= dict(mine)
    assert sorted(placed) == [place for place, _ in whole]
    for place, (inputs, targets) in whole:
        assert torch.equal(placed[place][0], inputs)
        assert torch.equal(placed[place][1], targets)
        assert targets[0] == place


def test_more_shares_than_batches_are_refused_for_each():
    for number in range(7):
        with pytest.raises(UsageError, match="107 examples make 6 batches, too few for 7 to share"):
            numbered().sizes(20, Share(number, 7))


def test_the_parts_of_a_share_are_shares():
    batches = list(range(23))
    parts = [Share(1, 3).part(number, 2).pick(batches) for number in range(2)]
    assert sorted(parts[0] + parts[1]) == Share(1, 3).pick(batches) == batches[1::3]


def test_a_share_reads_no_example_of_another():
    class Recorder:
        def __len__(self):
            return 12

        def __getitem__(self, index):
            asked.append(index)
            return torch.full((2,), float(index)), index

    asked = []
    probe_set = as_probe_set(Recorder(), source="recorder", samples=None, seed=0)
    asked.clear()
    assert [len(y) for _, (_, y) in probe_set.placed(3, Share(1, 2))] == [3, 3]
    assert asked == [3, 4, 5, 9, 10, 11]


def test_batches_that_come_ready_are_shared_out_whole():
    batches = [(torch.full((n, 2), float(n)), torch.zeros(n)) for n in (3, 1, 4, 2)]
    probe_set = as_probe_set(batches, source="loader", samples=None, seed=0)
    mine = [(place, len(y)) for place, (_, y) in probe_set.placed(99, Share(1, 2))]
    assert mine == [(3, 1), (8, 2)]

"""A padded batch has the statistics of its sequences, each run by itself at its own length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from condcli.api import probe
from condcli.capture.row_order import EXAMPLES_FIRST, TIME_FIRST, UNKNOWN, row_order
from condcli.stats import ProbeStats

from .attention import PlainAttention
from .recurrent import PlainSequenceNet, SequenceNet
from .reference import Batch, measure
from .test_against_reference import FACTS, layer_errors

WIDTH, CLASSES, VOCABULARY = 6, 3, 11


class Tagged(nn.Module):
    """Embedding, convolution, attention and linear layers on masked tokens, then their mean."""

    def __init__(self, *, time_first: bool = False, stride: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=1, stride=stride)
        self.attn = nn.MultiheadAttention(WIDTH, 2, batch_first=not time_first)
        self.fc = nn.Linear(WIDTH, 7)
        self.head = nn.Linear(7, CLASSES)
        self.time_first = time_first

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        x = self.embedding(input_ids) * real[..., None]
        x = torch.tanh(self.conv(x.transpose(1, 2)).transpose(1, 2))
        if x.shape[1] == real.shape[1]:
            x = self._mixed(x, real)
        else:
            real = real[:, ::2]
        x = self.fc(x) * real[..., None]
        return self.head(functional.relu(x).sum(1) / real.sum(1, keepdim=True))

    def _mixed(self, x: Tensor, real: Tensor) -> Tensor:
        if isinstance(self.attn, PlainAttention):
            return self.attn(x, x, x)[0]
        x = x.transpose(0, 1) if self.time_first else x
        x = self.attn(x, x, x, key_padding_mask=real == 0, need_weights=False)[0]
        return x.transpose(0, 1) if self.time_first else x


def padded(lengths: list[int], size: int) -> tuple[dict[str, Tensor], Tensor]:
    """One batch of random tokens, the padding filled with another random token."""
    torch.manual_seed(1)
    ids = torch.randint(VOCABULARY, (len(lengths), size))
    mask = (torch.arange(size) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask}, torch.arange(len(lengths)) % CLASSES


def alone(lengths: list[int], size: int) -> list[Batch]:
    """The same sequences without padding, one a batch."""
    inputs, labels = padded(lengths, size)
    ids = inputs["input_ids"]
    return [(ids[n : n + 1, :length], labels[n : n + 1]) for n, length in enumerate(lengths)]


SHAPES = [([5, 2, 4], 5), ([1, 6, 3, 2, 6, 4], 6)]  # the latter with as many examples as tokens


@pytest.mark.parametrize("conv", ["channels", "patches"])
@pytest.mark.parametrize(("lengths", "size"), SHAPES)
@pytest.mark.parametrize("time_first", [False, True])
def test_every_matrix_is_that_of_the_sequences_without_padding(
    conv: str, lengths: list[int], size: int, time_first: bool
) -> None:
    torch.manual_seed(2)
    net = Tagged(time_first=time_first)
    stats = probe(net, [padded(lengths, size)], conv=conv, dtype="float64")
    net.attn = PlainAttention(net.attn)
    net.attn.batch_first = True
    truth = measure(net, alone(lengths, size), conv=conv)
    assert set(stats.layers) == set(truth)
    for name, layer in stats.layers.items():
        assert {fact: getattr(layer, fact) for fact in FACTS} == {
            fact: getattr(truth[name], fact) for fact in FACTS
        }, name
        errors = dict(layer_errors(layer, truth[name]))
        assert {key: error for key, error in errors.items() if not error <= 1e-10} == {}, name


def test_a_mask_without_padding_changes_nothing() -> None:
    torch.manual_seed(2)
    net = Tagged()
    inputs, labels = padded([5, 5, 5], 5)
    with_mask = probe(net, [(inputs, labels)], dtype="float64")
    without = probe(net, [(inputs["input_ids"], labels)], dtype="float64")
    for name, layer in without.layers.items():
        assert np.array_equal(layer.input_moment, with_mask.layers[name].input_moment)


def test_activations_count_real_tokens() -> None:
    net = Tagged()
    net.act = nn.Tanh()
    stats = probe(net, [padded([5, 2, 4], 5)], dtype="float64")
    rows = {name: count.rows for name, count in stats.activations.items()}
    assert rows == {"tanh": 11, "relu": 11}


class Flattened(nn.Module):
    """A layer on all tokens in one axis, in the order (T, N) or (N, T)."""

    def __init__(self, *, time_first: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.fc = nn.Linear(WIDTH, 7)
        self.head = nn.Linear(7, VOCABULARY)
        self.time_first = time_first

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.embedding(input_ids)
        x = x.transpose(0, 1) if self.time_first else x
        h = functional.relu(self.fc(x.reshape(-1, WIDTH))).unflatten(0, x.shape[:2])
        return self.head(h.transpose(0, 1) if self.time_first else h)


@pytest.mark.parametrize(("lengths", "size"), SHAPES)
@pytest.mark.parametrize("time_first", [False, True])
def test_tokens_in_one_axis_are_masked_in_their_own_order(
    lengths: list[int], size: int, time_first: bool
) -> None:
    torch.manual_seed(2)
    net = Flattened(time_first=time_first)
    inputs, _ = padded(lengths, size)
    labels = inputs["input_ids"].roll(1, 1).masked_fill(inputs["attention_mask"] == 0, -100)
    stats = probe(net, [(inputs, labels)], dtype="float64")
    rows = net.embedding(inputs["input_ids"])[inputs["attention_mask"] == 1].detach().double()
    expected = (rows.T @ rows / len(rows)).numpy()
    assert stats.layers["fc"].rows == sum(lengths)
    np.testing.assert_allclose(stats.layers["fc"].input_moment, expected, rtol=1e-12)
    on = (net.double().fc(rows) > 0).sum(0).numpy()
    assert np.array_equal(stats.activations["relu"].active_count, on)


def test_rows_of_two_copies_tell_their_order() -> None:
    tokens = torch.arange(1.0, 4.0)[:, None]
    for rows, leading, order in (
        (tokens.repeat(2, 1), (6,), EXAMPLES_FIRST),
        (tokens.repeat_interleave(2, 0), (6,), TIME_FIRST),
        (tokens.repeat_interleave(2, 0), (3, 2), TIME_FIRST),
        (tokens.repeat_interleave(2, 0), (2, 3), UNKNOWN),
        (torch.arange(6.0)[:, None], (6,), UNKNOWN),
        (tokens, (3,), UNKNOWN),
    ):
        assert row_order(rows, leading, 2) == order


def test_heads_as_many_as_tokens_are_not_taken_for_them() -> None:
    class PerHead(Flattened):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            heads = self.embedding(input_ids)[..., None].transpose(1, 2)  # (N, heads, T, 1)
            return self.head(functional.relu(self.fc(heads.expand(-1, -1, -1, WIDTH)).sum((1, 2))))

    inputs, labels = padded([6, 2, 4], WIDTH)
    stats = probe(PerHead(time_first=False), [(inputs, labels)], dtype="float64")
    assert stats.layers["fc"].rows == 3 * WIDTH * WIDTH


def test_one_mask_does_not_go_for_a_decoder_too() -> None:
    torch.manual_seed(0)
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_heads": 2, "num_layers": 1}
    config = transformers.T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0, **sizes)
    inputs, _ = padded([5, 2, 4], 5)
    decoder = torch.randint(VOCABULARY, (3, 5))
    data = [({**inputs, "decoder_input_ids": decoder}, torch.randint(VOCABULARY, (3, 5)))]
    stats = probe(transformers.T5ForConditionalGeneration(config), data, dtype="float64")
    assert {layer.rows for name, layer in stats.layers.items() if name != "shared"} == {15}


def test_the_rows_of_a_strided_convolution_all_count() -> None:
    stats = probe(Tagged(stride=2), [padded([5, 2, 4], 5)], dtype="float64")
    conv, fc = stats.layers["conv"], stats.layers["fc"]
    assert (conv.input_rows, conv.rows, fc.rows) == (15, 9, 9)
    assert stats.layers["embedding"].rows == 11
    assert stats.layers["head"].rows == 3


def test_a_recurrent_layer_over_padded_sequences_counts_real_tokens() -> None:
    """Left to run over the padding, its earlier states are those without padding."""

    class Reader(nn.Module):
        def __init__(self, net: SequenceNet) -> None:
            super().__init__()
            self.rnn, self.head = net.rnn, nn.Linear(5, CLASSES)

        def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
            out = self.rnn(x)[0] * attention_mask[..., None]
            return self.head(out.sum(1) / attention_mask.sum(1, keepdim=True))

    torch.manual_seed(3)
    net = SequenceNet(nn.GRU(4, 5, batch_first=True))
    reader = Reader(net)
    x, lengths = torch.randn(3, 5, 4), [5, 2, 4]
    mask = padded(lengths, 5)[0]["attention_mask"]
    labels = torch.arange(3)
    stats = probe(reader, [({"x": x, "attention_mask": mask}, labels)], dtype="float64")

    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.Module()
            self.rnn = nn.Module()  # first, so that its layers have this name
            self.plain, self.head = PlainSequenceNet(net), reader.head
            self.rnn = self.plain.rnn

        def forward(self, x: Tensor) -> Tensor:
            outs = [self.plain._direction(list(seq), "_l0", 0)[0] for seq in x]
            return self.head(torch.stack([torch.stack(steps).mean(0) for steps in outs]))

    batches = [(x[n : n + 1, :length], labels[n : n + 1]) for n, length in enumerate(lengths)]
    truth = measure(Twin(), batches)
    assert_rows(stats, 11)
    for name in ("rnn.weight_ih_l0", "rnn.weight_hh_l0"):
        errors = dict(layer_errors(stats.layers[name], truth[name]))
        assert {key: error for key, error in errors.items() if not error <= 1e-10} == {}, name


def assert_rows(stats: ProbeStats, rows: int) -> None:
    assert {layer.rows for name, layer in stats.layers.items() if name != "head"} == {rows}

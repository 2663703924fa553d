"""Every kind of task: what the network takes and returns, what the loss compares."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

import condcli
from condcli.errors import InputError, UsageError

N, T, VOCABULARY, CLASSES = 6, 5, 11, 3
Scores = namedtuple("Scores", "logits aux")


class Tagger(nn.Module):
    """Tokens (N, T) to scores (N, T, outputs), returned as `wrap` makes them."""

    def __init__(self, outputs: int = CLASSES, wrap: Any = lambda scores: scores) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, 4)
        self.head = nn.Linear(4, outputs)
        self.wrap = wrap

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Any:
        return self.wrap(self.head(torch.tanh(self.embed(tokens))))


def tokens() -> Tensor:
    return torch.randint(VOCABULARY, (N, T), generator=torch.Generator().manual_seed(1))


def labels(classes: int = CLASSES) -> Tensor:
    """(N, T), one in three without a label."""
    y = torch.randint(classes, (N, T), generator=torch.Generator().manual_seed(2))
    y.view(-1)[::3] = -100
    return y


def probe(model: nn.Module, x: Any, y: Any, **options: Any) -> condcli.ProbeStats:
    return condcli.probe(model, [(x, y)], dtype="float64", norm="running", **options)


def delta(scores: Tensor, loss: Tensor) -> Tensor:
    return torch.autograd.grad(loss, scores)[0]


def moment(rows: Tensor) -> np.ndarray[Any, Any]:
    rows = rows.detach().reshape(-1, rows.shape[-1])
    return (rows.T @ rows / len(rows)).numpy()


def test_token_labels_make_a_term_each_and_ignored_ones_none() -> None:
    stats = probe(Tagger(), tokens(), labels())
    p, y = stats.provenance, labels()
    scores = Tagger().double()(tokens())
    loss = functional.cross_entropy(scores.flatten(0, 1), y.flatten(), reduction="sum")
    assert (p.loss_name, p.loss_terms) == ("cross-entropy", int((y >= 0).sum()))
    assert p.loss == pytest.approx(float(loss.detach()) / p.loss_terms, rel=1e-12)
    right = scores.argmax(2) == y
    assert p.accuracy == pytest.approx(float(right.sum()) / p.loss_terms)
    expected = moment(delta(scores, loss))
    np.testing.assert_allclose(stats.layers["head"].grad_moment, expected, rtol=1e-12, atol=1e-18)


def test_as_many_tokens_as_classes_leave_the_classes_last() -> None:
    model, y = Tagger(outputs=T), labels(T)
    stats = probe(model, tokens(), y)
    loss = functional.cross_entropy(model.double()(tokens()).flatten(0, 1), y.flatten())
    assert stats.provenance.loss == pytest.approx(float(loss.detach()), rel=1e-12)


@pytest.mark.parametrize("loss", ["auto", "next-token"])
def test_labels_that_repeat_the_tokens_ask_for_the_next_one(loss: str) -> None:
    model, x = Tagger(outputs=VOCABULARY), tokens()
    y = x.clone()
    y[2:, 3:] = -100
    stats = probe(model, x, y, loss=loss)
    scores = model.double()(x)
    terms = [(n, t) for n in range(N) for t in range(T - 1) if y[n, t + 1] >= 0]
    each = [-scores[n, t].log_softmax(0)[y[n, t + 1]] for n, t in terms]
    assert (stats.provenance.loss_name, stats.provenance.loss_terms) == ("next-token", len(terms))
    mean = float(torch.stack(each).detach().mean())
    assert stats.provenance.loss == pytest.approx(mean, rel=1e-12)
    expected = moment(delta(scores, torch.stack(each).sum()))
    np.testing.assert_allclose(stats.layers["head"].grad_moment, expected, rtol=1e-12, atol=1e-18)


def test_the_task_is_not_told_by_an_example_without_labels() -> None:
    class Prompts(Dataset[dict[str, Tensor]]):
        def __len__(self) -> int:
            return N

        def __getitem__(self, index: int) -> dict[str, Tensor]:
            y = tokens()[index]
            return {"tokens": tokens()[index], "labels": y if index else torch.full_like(y, -100)}

    stats = condcli.probe(Tagger(outputs=VOCABULARY), Prompts())
    assert stats.provenance.loss_name == "next-token"
    assert stats.provenance.loss_terms == (N - 1) * (T - 1)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda scores: (scores, None),
        lambda scores: [scores],
        lambda scores: {"loss": None, "logits": scores, "hidden": scores * 2},
        lambda scores: {"out": scores, "aux": scores * 2},
        lambda scores: {"whatever": scores},
        lambda scores: Scores(scores, scores * 2),
    ],
    ids=["tuple", "list", "logits", "out", "only one", "named tuple"],
)
def test_the_logits_are_found_in_what_a_network_returns(wrap: Any) -> None:
    plain, wrapped = (probe(Tagger(wrap=w), tokens(), labels()) for w in (lambda s: s, wrap))
    assert wrapped.provenance.loss == plain.provenance.loss
    assert np.array_equal(wrapped.layers["head"].grad_moment, plain.layers["head"].grad_moment)


def test_outputs_without_known_logits_are_named() -> None:
    model = Tagger(wrap=lambda scores: {"start": scores, "end": scores})
    with pytest.raises(InputError, match=r"dict of start, end.*--loss FILE.py"):
        probe(model, tokens(), labels())


def test_inputs_by_name_are_keywords() -> None:
    x = {"tokens": tokens(), "attention_mask": torch.ones(N, T, dtype=torch.int64)}
    named, plain = probe(Tagger(), x, labels()), probe(Tagger(), tokens(), labels())
    assert named.provenance.loss == plain.provenance.loss


def test_inputs_in_order_are_arguments() -> None:
    x = (tokens(), torch.ones(N, T, dtype=torch.int64))
    ordered, plain = probe(Tagger(), x, labels()), probe(Tagger(), tokens(), labels())
    assert ordered.provenance.loss == plain.provenance.loss


def test_a_network_of_one_argument_gets_the_dict_itself() -> None:
    class FromDict(Tagger):
        def forward(self, batch: dict[str, Tensor]) -> Any:  # type: ignore[override]
            return super().forward(batch["tokens"])

    stats = probe(FromDict(), {"tokens": tokens(), "more": tokens()}, labels())
    assert stats.provenance.loss == probe(Tagger(), tokens(), labels()).provenance.loss


def test_keywords_that_a_network_does_not_take_are_named() -> None:
    with pytest.raises(InputError, match=r"takes tokens, attention_mask.*token_type_ids"):
        probe(Tagger(), {"tokens": tokens(), "token_type_ids": tokens()}, labels())


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_a_zero_or_one_for_each_output_is_binary(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, model = torch.randn(20, 4), nn.Linear(4, 3)
    y = torch.randint(2, (20, 3)).to(dtype)
    stats = probe(model, x, y, loss="auto" if dtype is torch.int64 else "bce")
    loss = functional.binary_cross_entropy_with_logits(model.double()(x.double()), y.double())
    assert stats.provenance.loss_name == "bce"
    assert stats.provenance.loss == pytest.approx(float(loss.detach()), rel=1e-7)


def test_floats_of_0_and_1_for_several_outputs_are_binary_and_for_one_are_numbers() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(20, 4), torch.randint(2, (20, 3)).float()
    assert probe(nn.Linear(4, 3), x, y).provenance.loss_name == "bce"
    assert probe(nn.Linear(4, 1), x, y[:, :1]).provenance.loss_name == "mse"
    assert probe(nn.Linear(4, 3), x, y, loss="mse").provenance.loss_name == "mse"


def test_one_output_for_two_classes_is_binary() -> None:
    torch.manual_seed(0)
    stats = probe(nn.Linear(4, 1), torch.randn(20, 4), torch.arange(20) % 2)
    assert stats.provenance.loss_name == "bce"


def test_pixels_with_the_ignored_label_are_no_terms() -> None:
    torch.manual_seed(0)
    model, x = nn.Conv2d(1, CLASSES, 3, padding=1), torch.randn(2, 1, 4, 4)
    y = torch.randint(CLASSES, (2, 4, 4))
    y[0, :2] = 255
    p = probe(model, x, y, ignore_label=255).provenance
    loss = functional.cross_entropy(model.double()(x.double()), y, ignore_index=255)
    assert (p.loss_terms, p.loss) == (2 * 16 - 8, pytest.approx(float(loss.detach()), rel=1e-7))
    with pytest.raises(InputError, match="255"):
        probe(model, x, y)


def test_a_class_for_each_example_of_the_batch_is_no_contradiction() -> None:
    """Contrastive scores: which of the batch's other halves belongs to an example."""

    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            first, second = self.layer(x[:, 0]), self.layer(x[:, 1])
            return first @ second.T

    stats = probe(Pairs(), torch.randn(5, 2, 4), torch.arange(5))
    assert stats.provenance.loss_terms == 5
    assert list(stats.layers) == ["layer"]


class Ragged(Dataset[dict[str, Tensor]]):
    """Sequences of two to seven tokens, with whatever `labels` makes of them."""

    def __init__(self, labels: Any) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sequence = torch.arange(2 + index) % VOCABULARY
        return {"input_ids": sequence, "labels": self.labels(sequence)}


class Reader(nn.Module):
    """The last state of an LSTM, which reads the padding too; it cannot do without a mask."""

    def __init__(self, *, tags: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, 4)
        self.rnn = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, CLASSES)
        self.tags = tags

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.rnn(self.embed(input_ids))[0]
        return self.head(states if self.tags else states[:, -1])


def test_padding_does_not_depend_on_the_batches() -> None:
    data = Ragged(lambda sequence: sequence.sum() % CLASSES)
    first, *others = (
        condcli.probe(Reader(), data, dtype="float64", batch_size=size) for size in (N, 1, 2)
    )
    for other in others:
        assert other.provenance.data_sha256 == first.provenance.data_sha256
        for name, layer in first.layers.items():
            moment = other.layers[name].grad_moment
            np.testing.assert_allclose(moment, layer.grad_moment, rtol=1e-10, atol=1e-18)


def test_labels_as_many_as_the_tokens_of_one_sequence_are_not_padded() -> None:
    data = Ragged(lambda sequence: torch.tensor([0, 1, 1]))  # one sequence has three tokens
    provenance = condcli.probe(Reader(), data).provenance
    assert (provenance.loss_name, provenance.loss_terms) == ("bce", N)


def test_a_label_for_each_token_is_padded_and_a_number_for_each_is_refused() -> None:
    tagged = Ragged(lambda sequence: sequence % CLASSES)
    assert condcli.probe(Reader(tags=True), tagged).provenance.loss_terms == 2 + 3 + 4 + 5 + 6 + 7
    with pytest.raises(InputError, match="no padding"):
        condcli.probe(Reader(tags=True), Ragged(lambda sequence: sequence.float()))


LOSSES = """
import torch

def squared(output, target):
    return ((output["start"] - target) ** 2).mean(1)

def one_number(output, target):
    return squared(output, target).mean()

def broken(output, target):
    return output["end"]
"""


def own_loss(folder: Path, name: str) -> str:
    (folder / "losses.py").write_text(LOSSES)
    return f"{folder / 'losses.py'}:{name}"


def test_the_users_own_loss_is_summed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, x, y = nn.Linear(4, 3), torch.randn(7, 4), torch.randn(7, 3)

    class Start(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"start": self.layer(x), "mean": self.layer.weight}

    own = probe(Start(), x, y, loss=own_loss(tmp_path, "squared"))
    mse = probe(layer, x, y, loss="mse")
    assert own.provenance.loss == pytest.approx(mse.provenance.loss, rel=1e-12)
    np.testing.assert_allclose(
        own.layers["layer"].grad_moment, mse.layers["weight"].grad_moment, rtol=1e-12
    )
    with pytest.raises(InputError, match=r"one number for 7 examples.*reduction"):
        probe(Start(), x, y, loss=own_loss(tmp_path, "one_number"))
    with pytest.raises(InputError, match="line 11: KeyError"):
        probe(Start(), x, y, loss=own_loss(tmp_path, "broken"))


def test_batches_of_unequal_parts_are_refused() -> None:
    mask = torch.ones(N, T, dtype=torch.int64)
    batches = [({"tokens": tokens(), "attention_mask": mask}, labels())]
    batches += [({"tokens": tokens()}, labels())]
    with pytest.raises(InputError, match="2 inputs and targets, those before 3"):
        condcli.probe(Tagger(), batches)


def test_several_targets_need_a_loss_of_ones_own() -> None:
    with pytest.raises(UsageError, match=r"--loss FILE.py"):
        probe(Tagger(), tokens(), (labels(), labels()))

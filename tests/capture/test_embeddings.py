"""Embeddings as linear maps of one-hot rows, against the reference that writes the rows out."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from condcli.api import probe
from condcli.stats import ProbeStats

from .reference import Batch, measure
from .test_activations import Net
from .test_against_reference import assert_agreement

VOCABULARY, WIDTH, CLASSES = 7, 4, 3


def tokens(*shapes: tuple[int, int]) -> list[Batch]:
    """One batch of random tokens a shape; never the last token of the vocabulary."""
    source = torch.Generator().manual_seed(4)
    return [
        (
            torch.randint(VOCABULARY - 1, shape, generator=source),
            torch.randint(CLASSES, shape[:1], generator=source),
        )
        for shape in shapes
    ]


class Reader(nn.Module):
    """The mean of the embedded tokens, after a nonlinearity, to class scores."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding, self.head = embedding, nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embedding(x)).mean(1))


def dense(model: Reader) -> Reader:
    """A copy whose gradients are those of the loss, and no optimizer's."""
    twin = deepcopy(model)
    twin.embedding.sparse = twin.embedding.scale_grad_by_freq = False
    return twin


EMBEDDINGS: dict[str, Callable[[], nn.Embedding]] = {
    "plain": lambda: nn.Embedding(VOCABULARY, WIDTH),
    "with a padding token": lambda: nn.Embedding(VOCABULARY, WIDTH, padding_idx=2),
    "sparse": lambda: nn.Embedding(VOCABULARY, WIDTH, sparse=True),
    "scaled by frequency": lambda: nn.Embedding(VOCABULARY, WIDTH, scale_grad_by_freq=True),
    "wide": lambda: nn.Embedding(VOCABULARY, WIDTH, padding_idx=-1),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_every_matrix_of_an_embedding_agrees_with_the_reference(name: str) -> None:
    torch.manual_seed(1)
    model = Reader(EMBEDDINGS[name]())
    batches = tokens((5, 6), (3, 6))
    stats = probe(model, batches, dtype="float64", per_example="all")
    truth = measure(dense(model), batches)
    assert_agreement(stats, truth, rel=1e-10)
    layer = stats.layers["embedding"]
    assert (layer.kind, layer.weight_shape) == ("embedding", (VOCABULARY, WIDTH))
    assert layer.input_moment.shape == (VOCABULARY,)
    assert layer.weight_grad_moment_lambda_max == pytest.approx(
        truth["embedding"].weight_grad_moment_lambda_max, rel=1e-10
    )
    assert not stats.skipped


def test_the_input_moment_is_the_frequency_of_each_token() -> None:
    batches = tokens((5, 6), (3, 6))
    layer = probe(Reader(nn.Embedding(VOCABULARY, WIDTH)), batches).layers["embedding"]
    every = torch.cat([x.flatten() for x, _ in batches])
    expected = torch.bincount(every, minlength=VOCABULARY).numpy() / 48
    assert np.array_equal(layer.input_moment, expected)
    assert np.array_equal(layer.input_mean, expected)
    assert layer.input_moment[-1] == 0


def test_an_embedding_with_one_token_an_example_has_example_gradients_by_default() -> None:
    torch.manual_seed(1)
    model, batches = Reader(nn.Embedding(VOCABULARY, WIDTH)), tokens((6, 1), (3, 1))
    layer = probe(model, batches, dtype="float64").layers["embedding"]
    truth = measure(model, batches)["embedding"]
    assert layer.weight_grad_moment_lambda_max == pytest.approx(
        truth.weight_grad_moment_lambda_max, rel=1e-10
    )


def test_rows_are_renormalised_in_a_copy() -> None:
    torch.manual_seed(1)
    model = Reader(nn.Embedding(VOCABULARY, WIDTH, max_norm=1.0))
    before = model.embedding.weight.detach().clone()
    batches = tokens((5, 6))
    stats = probe(model, batches, dtype="float64")
    assert torch.equal(model.embedding.weight, before)
    used = batches[0][0].unique()
    twin = Reader(nn.Embedding(VOCABULARY, WIDTH))
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        double = before.double()
        double[used] *= (1 / (double[used].norm(dim=1) + 1e-7)).clamp(max=1)[:, None]
        twin = twin.double()
        twin.embedding.weight.copy_(double)
    assert_agreement(stats, measure(twin, batches), rel=1e-6)


def test_a_tied_embedding_is_two_layers_with_one_gradient() -> None:
    """Scaled by √d, as the Transformer does; the head's weight is the same parameter."""
    net = Net(
        lambda self, x: self.lm_head(torch.tanh(self.wte(x) * WIDTH**0.5)).transpose(1, 2),
        wte=nn.Embedding(VOCABULARY, WIDTH),
        lm_head=nn.Linear(WIDTH, VOCABULARY, bias=False),
    )
    net.lm_head.weight = net.wte.weight
    x = tokens((5, 6))[0][0]
    stats = probe(net, (x, x), loss="cross-entropy", dtype="float64", per_example="all")
    assert_agreement(stats, measure(net, [(x, x)]), rel=1e-10)
    wte, head = stats.layers["wte"], stats.layers["lm_head"]
    assert (wte.d_in, wte.d_out, head.d_in, head.d_out) == (VOCABULARY, WIDTH, WIDTH, VOCABULARY)
    assert (wte.parameters, head.parameters) == (VOCABULARY * WIDTH, 0)
    assert wte.weight_grad_norm == head.weight_grad_norm
    assert "lm_head" in wte.weight_grad_moment_note
    assert "wte" in head.weight_grad_moment_note


def test_a_table_used_as_a_head_in_functional_code_is_a_layer_of_its_own() -> None:
    net = Net(
        lambda self, x: functional.linear(torch.tanh(self.wte(x)), self.wte.weight).transpose(1, 2),
        wte=nn.Embedding(VOCABULARY, WIDTH),
    )
    x = tokens((5, 6))[0][0]
    layers = probe(net, (x, x), loss="cross-entropy", dtype="float64").layers
    assert {name: layer.kind for name, layer in layers.items()} == {
        "wte": "embedding",
        "wte/linear": "linear",
    }


def test_a_table_looked_up_in_functional_code_has_its_own_name() -> None:
    net = Net(
        lambda self, x: self.head(functional.embedding(x, self.table).mean(1)),
        head=nn.Linear(WIDTH, CLASSES),
    )
    net.table = nn.Parameter(torch.randn(VOCABULARY, WIDTH))
    assert list(probe(net, tokens((5, 6))).layers) == ["table", "head"]


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_a_bag_is_a_sum_of_lookups(mode: str, padding_idx: int | None) -> None:
    torch.manual_seed(1)
    bag = nn.EmbeddingBag(VOCABULARY, WIDTH, mode=mode, padding_idx=padding_idx, sparse=True)
    net = nn.Sequential(bag, nn.Tanh(), nn.Linear(WIDTH, CLASSES))
    batches = tokens((5, 6), (3, 4))
    stats = probe(net, batches, dtype="float64")

    class Twin(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            kept = torch.ones_like(x) if padding_idx is None else (x != padding_idx).long()
            rows = self[0](x) * kept[..., None]
            bags = rows.sum(1) if mode == "sum" else rows.sum(1) / kept.sum(1, keepdim=True)
            return self[2](self[1](bags))

    table = nn.Embedding(VOCABULARY, WIDTH, padding_idx=padding_idx)
    table.weight.data = bag.weight.detach()
    assert_agreement(stats, measure(Twin(table, *net[1:]), batches), rel=1e-10)


def test_a_bag_takes_offsets_and_weights_of_its_samples() -> None:
    torch.manual_seed(1)
    net = Net(
        lambda self, x: self.head(self.bag(x.flatten(), starts(x), weights(self, x))),
        bag=nn.EmbeddingBag(VOCABULARY, WIDTH, mode="sum"),
        head=nn.Linear(WIDTH, CLASSES),
    )

    def starts(x: Tensor) -> Tensor:
        """The last bag is empty."""
        return torch.cat([torch.arange(len(x) - 1) * x.shape[1], torch.tensor([x.numel()])])

    def weights(self: nn.Module, x: Tensor) -> Tensor:
        return x.flatten().to(self.head.weight.dtype).sin()

    x, y = tokens((4, 3))[0]
    stats = probe(net, [(x, y)], dtype="float64")
    double = deepcopy(net).double()
    with torch.no_grad():
        loss = functional.cross_entropy(double(x), y)
    assert stats.provenance.loss == pytest.approx(float(loss), rel=1e-12)
    assert stats.layers["bag"].rows == 12


def test_the_largest_of_a_bag_is_skipped_with_a_reason() -> None:
    net = nn.Sequential(nn.EmbeddingBag(VOCABULARY, CLASSES, mode="max"))
    stats = probe(nn.Sequential(*net, nn.Linear(CLASSES, CLASSES)), tokens((5, 6)))
    assert "embedding_bag" in stats.skipped["0"].reason


def test_an_exported_embedding_has_its_name() -> None:
    model, (x, y) = Reader(nn.Embedding(VOCABULARY, WIDTH)), tokens((5, 6))[0]
    exported = torch.export.export(model, (x,)).module()
    stats = probe(exported, [(x, y)], dtype="float64")
    assert list(stats.layers) == ["embedding", "head"]
    assert_same_moments(stats, probe(model, [(x, y)], dtype="float64"))


def test_a_large_vocabulary_takes_no_square_matrix() -> None:
    """The matrix would have 3·10¹⁰ numbers."""
    model = Reader(nn.Embedding(180_000, WIDTH))
    layer = probe(model, tokens((5, 6))).layers["embedding"]
    assert layer.input_moment.shape == (180_000,)
    assert np.count_nonzero(layer.input_moment) <= 30
    assert len(layer.weight_singular_values) == len(layer.weight_grad_singular_values) == WIDTH


def assert_same_moments(stats: ProbeStats, other: ProbeStats) -> None:
    for name, layer in other.layers.items():
        np.testing.assert_allclose(stats.layers[name].input_moment, layer.input_moment)
        np.testing.assert_allclose(stats.layers[name].grad_moment, layer.grad_moment, rtol=1e-12)

"""Fisher types and the view `reduce` of a probe: against the plain reference, and their laws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli.analysis.decomposition import layer_spectra
from condcli.analysis.verification import verify
from condcli.capture import backward
from condcli.errors import UsageError
from condcli.stats import LayerStats, ProbeStats

from .cases import CASES, CLASSES, labelled
from .fisher_reference import Found, drawn, measure
from .parts import NETS

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even")

AT_TRUE_LABELS = (
    *("input_moment", "input_mean", "weight_singular_values", "weight_grad_singular_values"),
    *("weight_norm", "weight_grad_norm", "weight_grad_moment_lambda_max", "rows", "positions"),
)


# Ways that a gradient can take, and losses.
WAYS = (
    *("mlp", "mlp, mse", "mlp, bce", "bfloat16 weights", "all parameters frozen", "tied weights"),
    *("mlp with bn, batch statistics", "mlp with bn, running statistics"),
    *("cnn with bn, batch statistics", "residual cnn, in-place sums", "layer called twice"),
    *("linear on tokens, then in place", "a batch without any label", "pixel classification"),
    *("language model, head tied to the embedding", "token classification, ignored labels"),
    *("convolution called on single images", "rows routed to one of two layers"),
    *("huggingface conv1d", "activation checkpointing", "transformer encoder layer"),
    *("self-attention, length first, weights asked for", "conv2d grouped", "conv1d"),
)


@pytest.mark.parametrize("fisher", ["mc", "exact"])
@pytest.mark.parametrize("name", WAYS)
def test_every_gradient_moment_agrees_with_the_reference(name: str, fisher: str) -> None:
    case = CASES[name]
    options = {"fisher": fisher, "loss": case.loss, "norm": case.norm}
    drawing = fisher == "mc"
    truth = measure(
        case.plain(case.model()),
        case.batches(),
        **options,
        **{"samples": 3, "seed": 7} if drawing else {},
    )
    stats = condcli.probe(
        case.model(),
        case.batches(),
        **options,
        **{"mc_samples": 3, "seed": 7} if drawing else {},
        conv="patches",
        dtype="float64",
    )
    assert_agreement(stats, truth)


@pytest.mark.parametrize("fisher", ["mc", "exact"])
@pytest.mark.parametrize("name", ["cnn with bn, batch statistics", "tied weights"])
def test_all_but_the_gradient_moment_is_of_the_true_labels(name: str, fisher: str) -> None:
    case = CASES[name]
    options = {"loss": case.loss, "dtype": "float64", "per_example": "all"}
    stats, usual = (
        condcli.probe(case.model(), case.batches(), fisher=each, **options)
        for each in (fisher, "empirical")
    )
    for layer_name, layer in stats.layers.items():
        for field in AT_TRUE_LABELS:
            assert_same(getattr(layer, field), getattr(usual.layers[layer_name], field))
    assert stats.provenance.loss == usual.provenance.loss
    assert stats.provenance.accuracy == usual.provenance.accuracy
    for place, count in usual.activations.items():
        np.testing.assert_array_equal(stats.activations[place].active_count, count.active_count)


REDUCED = {
    **{name: "mc" for name in CASES if name.startswith("conv") and "single" not in name},
    **dict.fromkeys(("mlp", "linear on tokens", "self-attention, batch first"), "mc"),
    **dict.fromkeys(("cnn with bn, batch statistics", "conv2d grouped", "mlp, mse"), "exact"),
    **dict.fromkeys(("pixel classification", "token classification, ignored labels"), "exact"),
    "language model, head tied to the embedding": "mc",
}


@pytest.mark.parametrize(("name", "fisher"), REDUCED.items(), ids=REDUCED)
def test_every_reduced_moment_agrees_with_the_reference(name: str, fisher: str) -> None:
    case = CASES[name]
    options = {"fisher": fisher, "loss": case.loss, "norm": case.norm}
    truth = measure(case.plain(case.model()), case.batches(), **options, reduced=True)
    stats = condcli.probe(case.model(), case.batches(), **options, conv="reduce", dtype="float64")
    assert_agreement(stats, truth)
    for layer in stats.layers.values():
        assert layer.positions == layer.rows / stats.provenance.loss_terms


def assert_agreement(stats: ProbeStats, truth: Mapping[str, Found]) -> None:
    assert list(stats.layers) == list(truth)
    for name, layer in stats.layers.items():
        found = truth[name]
        assert layer.rows == found.rows, name
        diagonal = found.input_moment.diagonal() if layer.kind == "embedding" else None
        assert_close(layer.input_moment, found.input_moment if diagonal is None else diagonal)
        assert_close(layer.grad_moment, found.grad_moment)
        scale = np.sqrt(abs(layer.grad_moment).max())
        difference = layer.grad_mean - np.asarray(found.grad_mean)
        assert abs(difference).max() <= 1e-11 * scale + 1e-15


def assert_close(measured: Any, truth: Any, rel: float = 1e-10) -> None:
    """Softmax does not see the sum of all keys: of such δ the sum is zero but for rounding."""
    measured, truth = np.asarray(measured), np.asarray(truth)
    assert measured.shape == truth.shape
    np.testing.assert_allclose(measured, truth, rtol=0, atol=rel * abs(truth).max() + 1e-30)


def assert_same(measured: Any, usual: Any) -> None:
    if usual is None or isinstance(usual, int):
        assert measured == usual
    else:
        assert_close(measured, usual, 1e-12)


def test_drawn_labels_come_near_the_exact_moment_as_their_number_says() -> None:
    """Each entry within five standard errors, from the spread over fifteen seeds."""
    case = CASES["mlp with bn, batch statistics"]
    exact = condcli.probe(case.model(), case.batches(), fisher="exact", dtype="float64")
    options = {"fisher": "mc", "mc_samples": 10, "dtype": "float64"}
    drawings = [condcli.probe(case.model(), case.batches(), seed=n, **options) for n in range(15)]
    for name, layer in exact.layers.items():
        found = np.stack([stats.layers[name].grad_moment for stats in drawings])
        error = found.std(0, ddof=1) / np.sqrt(len(found))
        off = abs(found.mean(0) - layer.grad_moment)
        assert (off <= 5 * error + 1e-12 * layer.grad_moment.max()).all()
        assert (error < 0.2 * abs(layer.grad_moment).max()).all()
        np.testing.assert_array_equal(layer.grad_mean, 0)


@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
def test_one_drawn_label_gives_the_empirical_moment_at_that_label(loss: str) -> None:
    case = CASES["mlp" if loss == "cross-entropy" else "mlp, mse"]
    model, [(x, y)] = case.model().double(), case.batches()
    options = {"loss": loss, "dtype": "float64"}
    stats = condcli.probe(model, (x, y), fisher="mc", seed=3, **options)
    labels = drawn(model(x.double()).detach(), y.double() if loss == "mse" else y, loss, 3, 0, 0)
    usual = condcli.probe(model, (x, labels), **options)
    for name, layer in stats.layers.items():
        assert_close(layer.grad_moment, usual.layers[name].grad_moment)
        assert_close(layer.grad_mean, usual.layers[name].grad_mean)


def test_of_a_linear_network_with_squared_error_the_product_is_the_exact_block() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 6, bias=False), nn.Linear(6, 3)).double()
    x, y = torch.randn(40, 5).double(), torch.randn(40, 3).double()
    jacobians = torch.func.vmap(torch.func.jacrev(_outputs, argnums=1), in_dims=(None, None, 0))
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    found = jacobians(model, parameters, x)
    for conv in ("channels", "patches", "reduce"):
        stats = condcli.probe(model, (x, y), fisher="exact", conv=conv, dtype="float64")
        for name, layer in stats.layers.items():
            rows = found[f"{name}.weight"].flatten(2)
            block = torch.einsum("nca,ncb->ab", rows, rows) * 2 / 3 / len(x)
            assert_close(np.kron(layer.grad_moment, layer.input_moment), block, 1e-10)


def _outputs(model: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    return torch.func.functional_call(model, parameters, (x,))


def test_more_backward_passes_than_anyone_waits_for_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backward, "MOST_PASSES", 14)
    tied, apart = CASES["mlp with bn, batch statistics"], CASES["mlp"]
    with pytest.raises(UsageError, match=r"takes 18 backward .*3 outputs an example × 6") as error:
        condcli.probe(tied.model(), tied.batches(), fisher="exact")
    assert "--norm running" in error.value.remedy
    condcli.probe(tied.model(), tied.batches(), fisher="exact", norm="running")
    words = CASES["language model, head tied to the embedding"]
    with pytest.raises(UsageError, match=r"outputs an example") as error:
        condcli.probe(words.model(), words.batches(), fisher="exact")
    assert "--fisher mc" in error.value.remedy
    assert condcli.probe(apart.model(), apart.batches(), fisher="exact").provenance.columns == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fisher": "true"}, "fisher 'true' does not exist"),
        ({"fisher": "exact", "mc_samples": 3}, "exact draws no labels"),
        ({"mc_samples": 2}, "empirical draws no labels"),
        ({"fisher": "mc", "mc_samples": 0}, "make no matrix"),
    ],
)
def test_what_has_no_meaning_is_refused(options: dict[str, Any], words: str) -> None:
    case = CASES["mlp"]
    with pytest.raises(UsageError, match=words):
        condcli.probe(case.model(), case.batches(), **options)


def test_a_loss_of_ones_own_has_no_labels_to_draw(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def loss(output, target):\n    return output.sum(1)\n", encoding="utf-8")
    case = CASES["mlp"]
    with pytest.raises(UsageError, match="its labels have no distribution") as error:
        condcli.probe(case.model(), case.batches(), loss=f"{file}:loss", fisher="mc")
    assert error.value.remedy == "pass --fisher empirical"


class Recurrent(nn.Module):
    """An LSTM on (T, N, d), and attention on the same."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6)
        self.attn = nn.MultiheadAttention(6, 2)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x.transpose(0, 1))
        mixed, _ = self.attn(states, states, states, need_weights=False)
        return self.head(mixed.mean(0))


def test_rows_in_the_order_of_time_are_reduced_example_by_example() -> None:
    """Σ_∇h of a bias: the gradients of b, one an example, are the sums of δ over positions."""
    torch.manual_seed(2)
    model, [(x, y)] = Recurrent().double(), labelled(5, 4, sizes=(5,))()
    stats = condcli.probe(model, (x, y), conv="reduce", dtype="float64")
    biases = {"lstm.weight_hh_l0": "lstm.bias_hh_l0", "attn.out_proj": "attn.out_proj.bias"}
    named = dict(model.named_parameters())
    for name, bias in biases.items():
        gradients = []
        for n in range(len(x)):
            loss = nn.functional.cross_entropy(model(x[n : n + 1].double()), y[n : n + 1])
            gradients.append(torch.autograd.grad(loss, named[bias])[0])
        rows = torch.stack(gradients)
        assert_close(stats.layers[name].grad_moment, rows.T @ rows / len(rows))
        assert stats.layers[name].rows == len(x)
    states = model.lstm(x.double().transpose(0, 1))[0].detach().mean(0)
    assert_close(stats.layers["attn.q_proj"].input_moment, states.T @ states / len(x))


def test_padding_is_no_part_of_a_reduced_row() -> None:
    torch.manual_seed(4)
    model = Masked().double()
    x = torch.randn(4, 5, 3).double()
    mask = torch.tensor([[1] * 5, [1, 1, 0, 0, 0], [0] * 5, [1, 1, 1, 0, 0]])
    batch = [({"x": x, "attention_mask": mask}, torch.tensor([0, 1, 2, 0]))]
    stats = condcli.probe(model, batch, conv="reduce", dtype="float64")
    known = mask.bool()
    means = torch.stack([x[n][known[n]].mean(0) for n in (0, 1, 3)])
    layer = stats.layers["tokens"]
    assert (layer.rows, layer.input_rows) == (3, 3)
    assert_close(layer.input_moment, means.T @ means / 3)
    maps = nn.functional.pad(model.tokens(x).detach(), (0, 0, 1, 1))
    patches = torch.stack([maps[:, t : t + 3].transpose(1, 2).flatten(1) for t in range(5)], 1)
    means = torch.stack([patches[n][known[n]].mean(0) for n in (0, 1, 3)])
    assert_close(stats.layers["conv"].input_moment, means.T @ means / 3)


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.conv = nn.Linear(3, 4), nn.Conv1d(4, 2, 3, padding=1)
        self.head = nn.Linear(2, CLASSES)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        h = torch.tanh(self.conv(self.tokens(x).transpose(1, 2)))
        return self.head((h * attention_mask[:, None].to(h)).sum(2))


def test_rows_of_some_examples_alone_cannot_be_reduced() -> None:
    net = NETS["experts"]
    stats = condcli.probe(net.model(), net.batches(), conv="reduce")
    assert {"stem", "head"} <= set(stats.layers)
    assert "--conv reduce" in stats.skipped["experts.0.0"].reason


def test_where_each_example_has_one_row_the_views_are_one() -> None:
    case = CASES["mlp"]
    found = [condcli.probe(case.model(), case.batches(), conv=c) for c in ("reduce", "patches")]
    for name, layer in found[0].layers.items():
        twin: LayerStats = found[1].layers[name]
        np.testing.assert_array_equal(layer.input_moment, twin.input_moment)
        np.testing.assert_array_equal(layer.grad_moment, twin.grad_moment)


@pytest.mark.parametrize(
    ("options", "each"), [({"fisher": "exact"}, 3), ({"fisher": "mc", "mc_samples": 2}, 2)]
)
def test_the_rank_ceiling_counts_every_gradient_of_a_row(
    options: dict[str, Any], each: int, tmp_path: Path
) -> None:
    case = CASES["mlp, tanh"]
    [(x, y)] = case.batches()
    stats = condcli.probe(case.model(), (x[:2], y[:2]), dtype="float64", **options)
    condcli.write(stats, tmp_path / "stats.h5")
    stats = condcli.read(tmp_path / "stats.h5")
    for found in layer_spectra(stats):
        layer = stats.layers[found.name]
        softmax = found.d_out == CLASSES
        assert found.grad_ceiling[0] == min(2 * each, found.d_out) - softmax
        rank = np.linalg.matrix_rank(layer.grad_moment, hermitian=True)
        assert rank <= found.grad_ceiling[0]
        assert softmax or "mc_samples" in options or rank == 4  # two classes' worth an example
    assert verify(stats)

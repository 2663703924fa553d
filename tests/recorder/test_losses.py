"""Whatever a loop goes backward from, δ and ∂L/∂W are those of the summed and of the mean loss."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import condcli
from condcli.api import probe
from condcli.errors import InputError, UsageError

from .loops import assert_layers_agree, record_once, step_file

N = 6
LABELS = torch.tensor([0, 2, 1, 2, -100, 0])
WEIGHTS = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
KEPT = torch.tensor([1, 1, 0, 1, 0, 1], dtype=torch.float64)


def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def inputs() -> Tensor:
    return torch.randn(N, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def weighted(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, WEIGHTS, reduction="none")


# What the loop computes, the loss of a probe that is the same thing but for its scale, the targets
SPELLINGS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str, Tensor]] = {
    "mean": (F.cross_entropy, "cross-entropy", LABELS),
    "module": (nn.CrossEntropyLoss(), "cross-entropy", LABELS),
    "sum": (lambda h, y: F.cross_entropy(h, y, reduction="sum"), "cross-entropy", LABELS),
    "each, summed by hand": (
        lambda h, y: F.cross_entropy(h, y, reduction="none").sum() / 17,
        "cross-entropy",
        LABELS,
    ),
    "negative log-likelihood": (
        lambda h, y: F.nll_loss(h.log_softmax(1), y),
        "cross-entropy",
        LABELS,
    ),
    "another label for none": (
        lambda h, y: F.cross_entropy(h, y.masked_fill(y == -100, 9), ignore_index=9),
        "cross-entropy",
        LABELS,
    ),
    "mse": (F.mse_loss, "mse", inputs()[:, :3]),
    "mse, summed": (lambda h, y: F.mse_loss(h, y, reduction="sum"), "mse", inputs()[:, :3]),
    "mse, each": (
        lambda h, y: F.mse_loss(h, y, reduction="none").mean(),
        "mse",
        inputs()[:, :3],
    ),
    "bce": (F.binary_cross_entropy_with_logits, "bce", inputs()[:, :3].sigmoid()),
    "bce of probabilities": (
        lambda h, y: F.binary_cross_entropy(h.sigmoid(), y),
        "bce",
        inputs()[:, :3].sigmoid(),
    ),
    "scaled by 1024": (lambda h, y: F.cross_entropy(h, y) * 1024, "cross-entropy", LABELS),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_loss_is_known_by_what_it_is(name: str, tmp_path: Path) -> None:
    loss, probed, target = SPELLINGS[name]
    model = network()
    expected = probe(deepcopy(model), (inputs(), target), loss=probed, dtype="float64")
    stats = record_once(model, tmp_path / "run", [(inputs(), target)], loss)
    assert_layers_agree(stats, expected, tolerance=1e-10)
    for field in ("loss_name", "loss_terms", "accuracy", "chance"):
        assert getattr(stats.provenance, field) == getattr(expected.provenance, field), field
    assert stats.provenance.loss == pytest.approx(expected.provenance.loss, rel=1e-12)


def test_masked_terms_do_not_count(tmp_path: Path) -> None:
    def masked(output: Tensor, target: Tensor) -> Tensor:
        return (F.cross_entropy(output, target, reduction="none") * KEPT).sum() / KEPT.sum()

    model = network()
    labels = LABELS.masked_fill(KEPT == 0, -100)
    expected = probe(deepcopy(model), (inputs(), labels), dtype="float64")
    stats = record_once(model, tmp_path / "run", [(inputs(), LABELS)], masked)
    assert_layers_agree(stats, expected, tolerance=1e-10)
    assert stats.provenance.loss_terms == 4
    assert stats.provenance.accuracy == expected.provenance.accuracy


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_class_weights_and_smoothing_are_part_of_the_loss(reduction: str, tmp_path: Path) -> None:
    """Against per-example gradients by hand; a mean is over the sum of the weights."""
    labels = LABELS.clamp(min=0)

    def loss(output: Tensor, target: Tensor, how: str = reduction) -> Tensor:
        return F.cross_entropy(output, target, WEIGHTS, reduction=how, label_smoothing=0.1)

    model, x = network(), inputs()
    scale = N / WEIGHTS[labels].sum() if reduction == "mean" else 1
    h = model(x).detach().requires_grad_()
    (delta,) = torch.autograd.grad(loss(h, labels, "none").sum() * scale, h)
    stats = record_once(model, tmp_path / "run", [(x, labels)], loss)
    torch.testing.assert_close(
        torch.from_numpy(stats.layers["2"].grad_moment), delta.T @ delta / N, rtol=1e-12, atol=1e-15
    )


def own_loss(output: Tensor, target: Tensor) -> Tensor:
    return -(output.log_softmax(1)[torch.arange(len(target)), target]).mean()


def test_a_loss_of_ones_own_is_told(tmp_path: Path) -> None:
    labels, model, x = LABELS.clamp(min=0), network(), inputs()
    expected = probe(deepcopy(model), (x, labels), dtype="float64")
    with condcli.Recorder(model, tmp_path) as recorder, recorder.step() as step:
        loss = step.loss(own_loss(model(x), labels), terms=N, name="mine")
        (loss * 512 + F.mse_loss(loss, loss.detach())).backward()
    stats = step_file(tmp_path, 0)
    assert_layers_agree(stats, expected, tolerance=1e-10)
    assert (stats.provenance.loss_name, stats.provenance.accuracy) == ("mine", None)
    assert stats.provenance.loss == pytest.approx(expected.provenance.loss, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (own_loss, "none that torch.nn.functional computes"),
        (lambda h, y: F.cross_entropy(h, y) + F.mse_loss(h, h.detach() + 1), "several losses"),
        (
            lambda h, y: (F.cross_entropy(h, y, reduction="none") * torch.arange(1, N + 1)).mean(),
            "different weights",
        ),
    ],
)
def test_a_loss_that_cannot_be_told_is_asked_for(
    loss: Callable[[Tensor, Tensor], Tensor], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        record_once(network(), tmp_path, [(inputs(), LABELS.clamp(min=0))], loss)
    assert "step.loss(loss, terms=N)" in caught.value.remedy
    assert not [*tmp_path.iterdir()]


def test_only_a_mean_loss_with_a_gradient_can_be_told(tmp_path: Path) -> None:
    model, x = network(), inputs()
    with condcli.Recorder(model, tmp_path, every=1) as recorder:
        for wrong in (model(x), own_loss(model(x), LABELS.clamp(min=0)).detach()):
            with pytest.raises(UsageError, match="no single number"), recorder.step() as step:
                step.loss(wrong, terms=N)


def test_a_loss_without_a_gradient_is_a_metric(tmp_path: Path) -> None:
    def with_metric(output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            F.mse_loss(output, output + 1)
        F.mse_loss(output, output.detach() + 1)  # nobody goes backward from it
        return F.cross_entropy(output, target)

    stats = record_once(network(), tmp_path, [(inputs(), LABELS)], with_metric)
    assert stats.provenance.loss_name == "cross-entropy"

"""The head of a language model, of 50,257 words: sketched within its bound, or refused.

The reference is the gradients of the logits in float64, softmax minus one-hot, from the parts of
the network without its loss: the eigenvalues of Σ_∇h other than zero are those of the rows' Gram
matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli import machine
from condcli.errors import CannotFinishError
from condcli.machine import GIB, Budget

VOCABULARY, WIDTH, EXAMPLES, LENGTH = 50_257, 24, 8, 32
ROWS = EXAMPLES * LENGTH


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.mix = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def hidden(self, tokens: Tensor) -> Tensor:
        hidden: Tensor = self.norm(self.mix(self.tokens(tokens))[0])
        return hidden

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.hidden(tokens))
        return logits


def model_and_text() -> tuple[LanguageModel, Tensor, Tensor]:
    """The network, tokens of a text in which few words are frequent, and those that follow."""
    torch.manual_seed(0)
    model = LanguageModel()
    nn.init.normal_(model.head.weight, std=0.6)  # sure of a few words, as after training
    ranks = torch.rand(EXAMPLES, LENGTH + 1) ** 6
    tokens = (ranks * VOCABULARY).long()
    return model, tokens[:, :-1], tokens[:, 1:]


def probed(**options: Any) -> condcli.ProbeStats:
    model, x, y = model_and_text()
    settings: dict[str, Any] = {"batch_size": 3, "per_example": "none", "layers": ["head"]}
    return condcli.probe(model, (x, y), **settings | options)


def gradients() -> np.ndarray:
    """δ of every row, (rows, vocabulary), of the summed loss."""
    model, x, y = model_and_text()
    with torch.no_grad():
        hidden = model.double().hidden(x).reshape(ROWS, WIDTH)
        logits = (hidden @ model.head.weight.T).numpy()
    delta = np.exp(logits - logits.max(1, keepdims=True))
    delta /= delta.sum(1, keepdims=True)
    delta[np.arange(ROWS), y.flatten().numpy()] -= 1
    return delta


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    """The eigenvalues of Σ_∇h, descending."""
    delta = gradients()
    return np.linalg.eigvalsh(delta @ delta.T / ROWS)[::-1]


@pytest.mark.parametrize("max_dim", [64, 255])
def test_a_sketched_head_has_the_eigenvalues_within_its_bound(
    max_dim: int, expected: np.ndarray
) -> None:
    head = probed(max_dim=max_dim).layers["head"]
    assert (head.d_in, head.d_out, head.rows) == (WIDTH, VOCABULARY, ROWS)
    assert head.grad_factor is not None
    assert head.grad_error is not None
    factor = head.grad_factor.astype(np.float64)
    found = np.linalg.eigvalsh(factor @ factor.T)[::-1]
    known = expected[: len(found)]
    slack = 1e-5 * known[0]
    assert (found <= known + slack).all()
    assert (known <= found + head.grad_error + slack).all()
    assert 0 < head.grad_error < 0.6 * known[0]  # a bound that says something
    np.testing.assert_allclose(head.grad_trace, expected.sum(), rtol=1e-5)


def test_few_rows_of_a_head_are_kept_and_give_the_whole_spectrum(expected: np.ndarray) -> None:
    stats = probed(max_dim=ROWS)
    head = stats.layers["head"]
    assert (head.grad_moment, head.grad_error) == (None, 0.0)
    rows = condcli.leading_eigenvalues(stats, 10)
    found = [row.lambda_k_grad for row in rows]
    np.testing.assert_allclose(found, head.positions**2 * expected[:10], rtol=1e-4)


def test_a_head_without_a_sketch_is_refused_with_numbers_and_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its moment alone would take 60 GB: sum, mean and a copy, of 50,257² entries."""
    monkeypatch.setattr(machine, "free_memory", lambda: Budget(32 * GIB, "the machine"))
    with pytest.raises(CannotFinishError) as refused:
        probed(max_dim=VOCABULARY)
    assert "for the moments" in refused.value.message
    assert "32 GiB are free" in refused.value.message
    assert "--max-dim" in refused.value.remedy

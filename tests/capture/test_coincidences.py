"""What only looks like the usual case: equal sizes, views, an outer autocast, odd targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from condcli.api import probe
from condcli.errors import InputError

N = 5
LABELS = torch.arange(N) % 3


class Positions(nn.Module):
    """A layer that sees five positions, whatever the number of examples."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(N, 4))
        self.place = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(x + self.place(self.places).mean(0)))


class TimeFirst(nn.Module):
    """A layer that sees (time, example, feature), with as many steps as examples."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(6, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.step(x.transpose(0, 1))).sum(0))


def test_a_size_equal_to_the_examples_is_not_taken_for_them() -> None:
    torch.manual_seed(0)
    data = (torch.randn(N, N, 6), LABELS)
    layers = probe(TimeFirst(), data, dtype="float64", per_example="all").layers
    assert layers["step"].weight_grad_moment_lambda_max is None
    assert layers["step"].weight_grad_moment_note
    assert layers["head"].weight_grad_moment_lambda_max is not None


def test_rows_that_all_examples_share_are_skipped() -> None:
    """Their gradient is summed over the batch: how it falls into batches would show in Σ_∇h."""
    torch.manual_seed(0)
    model, data = Positions(), (torch.randn(N, 6), LABELS)
    for batch_size in (1, 2, N):
        stats = probe(model, TensorDataset(*data), batch_size=batch_size)
        assert list(stats.layers) == ["head"]
        assert "same for all examples" in stats.skipped["place"].reason


def test_a_constant_repeated_for_each_example_is_measured() -> None:
    class Queries(nn.Module):
        """Learned queries, (T, N, d), as detection transformers have them."""

        def __init__(self) -> None:
            super().__init__()
            self.queries = nn.Embedding(3, 4)
            self.layer = nn.Linear(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            queries = self.queries.weight.unsqueeze(1).repeat(1, len(x), 1)
            return (self.layer(queries) * x).sum(0)[:, :3]

    torch.manual_seed(0)
    stats = probe(Queries(), (torch.randn(N, 6), LABELS))
    assert stats.layers["layer"].rows == 3 * N


def test_an_outer_autocast_changes_nothing() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    data = (torch.randn(N, 6), LABELS)
    expected = probe(model, data).layers["2"]
    with torch.autocast("cpu", torch.bfloat16):
        measured = probe(model, data).layers["2"]
    assert np.array_equal(measured.input_moment, expected.input_moment)


def test_a_model_of_inference_tensors_is_refused() -> None:
    with torch.inference_mode():
        model = nn.Linear(6, 3)
    with pytest.raises(InputError, match="inference"):
        probe(model, (torch.randn(N, 6), LABELS))


def test_units_follow_the_latest_linear_map_of_their_shape() -> None:
    """Linear and conv1d outputs of one shape, (N, 4, 4): channels first after the convolution."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 4), nn.Conv1d(4, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([1.0, -1, 1, -1]))
    counts = probe(model, (torch.randn(N, 4, 4), LABELS)).activations["2"]
    assert counts.active_count.tolist() == [4 * N, 0, 4 * N, 0]


class TwoUses(nn.Module):
    """One weight in a linear layer and in an einsum, whose result is a view."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)
        self.only = nn.Parameter(torch.randn(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.einsum("nd,cd->nc", x, self.fc.weight)
        return self.fc(x) + mixed + torch.einsum("nd,cd->nc", x, self.only)


def test_a_function_that_returns_a_view_counts_as_a_use() -> None:
    torch.manual_seed(0)
    stats = probe(TwoUses(), (torch.randn(N, 6), LABELS))
    assert stats.layers["fc"].weight_grad_moment_lambda_max is None
    assert "einsum" in stats.layers["fc"].weight_grad_moment_note
    assert "einsum" in stats.skipped["only"].reason


def test_dropout_is_off_even_when_the_network_insists() -> None:
    class Insisting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.dropout(input=x, p=0.9, train=True)
            return self.fc(nn.functional.dropout(x, 0.9, training=True))

    x = torch.randn(N, 6, dtype=torch.float64)
    layer = probe(Insisting(), (x, LABELS), dtype="float64").layers["fc"]
    np.testing.assert_allclose(layer.input_moment, (x.T @ x / N).numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "target", "message"),
    [
        ("bce", torch.full((N, 3), 1.5), "from 0 to 1"),
        ("cross-entropy", torch.full((N,), -100), "no labelled target"),
    ],
)
def test_targets_that_a_loss_cannot_have_are_refused(
    loss: str, target: Tensor, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        probe(nn.Linear(6, 3), (torch.randn(N, 6), target), loss=loss)

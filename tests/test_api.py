"""The Python API takes what people have in hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import condcli
from condcli.errors import CannotFinishError, InputError, UsageError


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(20, 4, generator=generator), torch.arange(20) % 3


def test_tensors_data_sets_loaders_and_generators_measure_the_same(
    data: tuple[Tensor, Tensor],
) -> None:
    x, y = data

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield x[:7], y[:7]
        yield x[7:], y[7:]

    data_set = TensorDataset(x, y)
    sources = [data, data_set, DataLoader(data_set, batch_size=6), list(batches()), batches()]
    measured = [condcli.probe(model(), source, dtype="float64") for source in sources]
    assert len({stats.provenance.data_sha256 for stats in measured}) == 1
    for stats in measured:
        assert stats.provenance.examples == 20
        np.testing.assert_allclose(
            stats.layers["2"].grad_moment, measured[0].layers["2"].grad_moment, rtol=1e-12
        )


def test_the_same_weights_and_data_have_the_same_digests(data: tuple[Tensor, Tensor]) -> None:
    first, second = (condcli.probe(model(), data).provenance for _ in range(2))
    assert first.model_sha256 == second.model_sha256
    other = condcli.probe(model(), (data[0] + 1, data[1])).provenance
    assert other.data_sha256 != first.data_sha256


def test_progress_counts_every_example(data: tuple[Tensor, Tensor]) -> None:
    seen: list[tuple[int, int]] = []
    condcli.probe(model(), data, batch_size=8, progress=lambda *counts: seen.append(counts))
    assert seen == [(7, 20), (14, 20), (20, 20)]


def test_random_data_get_labels_for_the_models_own_classes() -> None:
    stats = condcli.probe(model(), "random:4", samples=50)
    assert stats.provenance.examples == 50
    assert stats.provenance.accuracy is not None


@pytest.mark.parametrize("option", ["conv", "norm", "dtype", "device", "loss", "per_example"])
def test_an_option_that_does_not_exist_is_refused(option: str, data: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UsageError, match="odd"):
        condcli.probe(model(), data, **{option: "odd"})


def test_options_of_files_are_refused_for_data_in_memory(data: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UsageError, match="no use for target"):
        condcli.probe(model(), data, target="price")


def test_a_compiled_network_is_probed_as_the_network_that_it_is(
    data: tuple[Tensor, Tensor],
) -> None:
    plain, compiled = (condcli.probe(net, data) for net in (model(), torch.compile(model())))
    assert list(compiled.layers) == list(plain.layers)
    assert compiled.provenance.model_sha256 == plain.provenance.model_sha256


def test_data_without_examples_are_refused() -> None:
    with pytest.raises(InputError):
        condcli.probe(model(), [])


def test_a_batch_that_will_not_fit_is_refused_before_it_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("condcli.capture.memory.available_memory", lambda device: 20_000)
    with pytest.raises(CannotFinishError, match="--batch-size"):
        condcli.probe(
            model(),
            TensorDataset(torch.randn(2000, 4), torch.zeros(2000).long()),
            batch_size=1000,
            per_example="none",
        )


@pytest.mark.parametrize(
    ("options", "free", "remedy"),
    [
        ({"per_example": "none"}, 20_000, "--exclude 2,"),
        ({}, 300_000, "--per-example none"),
        ({"per_example": "all"}, 300_000, "--per-example auto"),
    ],
)
def test_moments_and_gradients_that_will_not_fit_are_refused_with_a_way_out(
    options: dict[str, str], free: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 · (40² + 3² + 80² + 3²) bytes of moments, and 2000 · 4 · (80 + 3) of inputs and δ."""
    network = nn.Sequential(nn.Linear(3, 40), nn.Flatten(), nn.Linear(80, 3))
    tokens = (torch.randn(2000, 2, 3), torch.arange(2000) % 3)
    monkeypatch.setattr("condcli.capture.memory.available_memory", lambda device: free)
    with pytest.raises(CannotFinishError, match=remedy):
        condcli.probe(network, tokens, batch_size=1, **options)


README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = {
    "rows of its numbers are printed": "condcli.probe(",
    "a training is recorded": "condcli.Recorder(",
}


@pytest.mark.parametrize("what", EXAMPLES)
def test_the_examples_in_the_readme_run(what: str, tmp_path: Path) -> None:
    blocks = [block.split("```")[0] for block in README.split("```python\n")[1:]]
    (example,) = (block for block in blocks if EXAMPLES[what] in block)
    assert len(example.splitlines()) <= 18
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or len(list(tmp_path.glob("run/step_*.h5"))) == 4

"""A statistics file with the cases that tables must show well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from condcli.output import terminal
from condcli.stats import ProbeStats, SkippedParameter
from condcli.statsfile import write
from tests.browser import PROGRAM, Browser, browser
from tests.synthetic import activation, diagonal, layer, stats


def sample() -> ProbeStats:
    """Four layers: usual, head of rank C - 1, grouped with an odd name, dead; four call sites."""
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((500, 4))
    gradients -= gradients.mean(axis=1, keepdims=True)
    spread = diagonal(*np.logspace(0, -9, 12))
    odd = "blocks.0.[/bold]\x1b[31m.a_very_long_module_path.depthwise"
    return stats(
        layer("fc1", spread, diagonal(2e-9, 1e-9, 5e-10), order=0),
        layer(
            odd,
            np.stack([diagonal(3.0, 1.0), diagonal(2.0, 0.5)]),
            np.array([[[1e-3]], [[1e-4]]]),
            order=1,
            kind="conv2d",
            kernel_size=(3, 3),
            rows=4900,
            input_rows=6400,
            positions=49.0,
            weight_singular_values=np.array([1000.0]),
            weight_grad_moment_lambda_max=None,
            weight_grad_moment_note="more than one row per example",
        ),
        layer("dead", np.zeros((3, 3)), np.zeros((2, 2)), order=2),
        layer("head", diagonal(5.0, 4.0, 3.0), gradients.T @ gradients / 500, order=3),
        activations=(
            activation("relu1"),
            activation("relu2", order=1, active_count=np.array([1, 99, 40, 50])),
            activation(
                "gate",
                function="sigmoid",
                order=2,
                saturated_count=np.array([10, 0, 0, 4]),
            ),
            activation("soft", function="softplus", order=3),
        ),
        skipped=(
            SkippedParameter(
                name="lstm.weight_hh",
                kind="lstm",
                shape=(4, 3),
                parameters=12,
                reason="its kernel is fused",
            ),
        ),
        dtype="float32",
        autocast="none",
        step=1200,
    )


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sample in ./stats.h5."""
    write(sample(), tmp_path / "stats.h5")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "_quiet", False)
    return Path("stats.h5")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of a process, which skips them where none is installed."""
    if PROGRAM is None:
        pytest.skip("no Chromium is installed")
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found

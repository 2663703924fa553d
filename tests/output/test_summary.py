"""What ``condcli probe`` says at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from condcli.output.summary import guessing, summary, summary_panel
from condcli.stats import ProbeStats, SkippedParameter
from tests.synthetic import provenance


def stats(**changes: object) -> ProbeStats:
    skipped = {
        name: SkippedParameter(
            name=name, kind="LSTM", shape=(4, 3), parameters=12, reason="used by lstm"
        )
        for name in ("a", "b")
    }
    return ProbeStats(provenance=provenance(**changes), layers={}, skipped=skipped)


def test_it_names_model_data_loss_counts_and_file() -> None:
    lines = summary(stats(step=40), Path("s.h5"), file_bytes=3 * 2**20)
    assert lines["model"] == "net.pt (mlp, step 40)"
    assert lines["data"] == "digits, 100 examples, normalize none"
    assert lines["loss"] == "cross-entropy 0.25, accuracy 93.00 %"
    assert lines["skipped"] == "2: used by lstm"
    assert lines["file"] == "s.h5, 3.0 MiB"


def test_a_regression_has_no_accuracy() -> None:
    values = {"accuracy": None, "chance": None, "loss_name": "mse"}
    assert summary(stats(**values), Path("s.h5"), file_bytes=9)["loss"] == "mse 0.25"
    assert guessing(provenance(**values)) == ""


def test_names_from_files_are_escaped() -> None:
    text = summary_panel(
        stats(model_source="\x1b[31m[bold]evil[/bold]"), Path("s.h5"), file_bytes=9
    )
    assert "\x1b" not in text
    assert r"\x1b[31m[bold]evil[/bold]" in text


@pytest.mark.parametrize(
    ("accuracy", "warned"), [(0.09, True), (0.10, True), (0.159, True), (0.161, False), (1, False)]
)
def test_it_warns_below_two_standard_errors_above_chance(accuracy: float, warned: bool) -> None:
    """Chance 0.1 on 100 terms: the standard error is 0.03."""
    assert bool(guessing(provenance(accuracy=accuracy, chance=0.1))) == warned

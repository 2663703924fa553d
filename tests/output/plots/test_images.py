"""Every kind of figure looks as reviewed, letters aside; renew with ``--update-golden``.

Letters look otherwise with another version of matplotlib: what they say is tested on the artists.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images
from matplotlib.text import Text

from condcli.output.plots import KINDS, RUN_KINDS
from condcli.output.plots.drawing import DRAW_FILES, DRAW_RUNS
from condcli.output.plots.sources import Options, runs_of
from condcli.output.plots.style import styled
from tests.output.plots.artists import sample
from tests.output.plots.networks import hard_network, network, write_run

BASELINE = Path(__file__).parent / "baseline"
DPI = 60
TOLERANCE = 2.0  # root mean square, of 255


def figure_of(kind: str, folder: Path) -> Figure:
    if kind not in RUN_KINDS:
        one = kind in ("matrices", "activity")
        samples = [sample(hard_network(), "hard"), sample(network(7, fall=0.5), "plain")]
        return DRAW_FILES[kind](samples[:1] if one else samples, Options(percent=100))
    write_run(folder / "plain", depth=9)
    write_run(folder / "bn", depth=9, fall=0.8)
    options = Options(percent=50, threshold=1e-3)
    return DRAW_RUNS[kind](runs_of([folder / "plain", folder / "bn"], None, options), options)


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_is_as_reviewed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with styled():
        figure = figure_of(kind, tmp_path)
        for text in figure.findobj(Text):
            text.set_visible(False)
        figure.set_layout_engine("none")  # each version lays out a little otherwise
        width, height = figure.get_size_inches() * DPI
        figure.set_size_inches(width / DPI, (round(height) + 0.01) / DPI)  # rounded alike by all
        figure.savefig(tmp_path / f"{kind}.png", dpi=DPI, metadata={"Software": None})
    expected = BASELINE / f"{kind}.png"
    if request.config.getoption("--update-golden"):
        BASELINE.mkdir(exist_ok=True)
        shutil.copy(tmp_path / f"{kind}.png", expected)
    shutil.copy(expected, tmp_path / "expected.png")  # beside which the difference is written
    said = compare_images(
        str(tmp_path / "expected.png"), str(tmp_path / f"{kind}.png"), tol=TOLERANCE
    )
    assert said is None


def test_every_kind_has_a_function() -> None:
    assert [*DRAW_FILES, *DRAW_RUNS] == list(KINDS)

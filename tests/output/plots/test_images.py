"""Every kind of figure looks as reviewed, letters aside; renew with ``--update-golden``.

Letters look otherwise with another version of matplotlib: what they say is tested on the artists.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageFilter

from condcli.output.plots import KINDS, RUN_KINDS
from condcli.output.plots.drawing import DRAW_FILES, DRAW_RUNS
from condcli.output.plots.sources import Options, Run, runs_of
from condcli.output.plots.style import styled
from tests.output.plots.artists import sample
from tests.output.plots.networks import hard_network, network, write_run

BASELINE = Path(__file__).parent / "baseline"
DPI = 60
OPTIONS = Options(percent=50, threshold=1e-3)  # of runs
TOLERANCE = 2.0  # of `difference`; matplotlib 3.9 and 3.11 differ by up to 1.7 but for heat maps


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "plain", depth=9)
    write_run(folder / "bn", depth=9, fall=0.8)
    return runs_of([folder / "plain", folder / "bn"], None, OPTIONS)


def figure_of(kind: str, runs: list[Run]) -> Figure:
    if kind not in RUN_KINDS:
        one = kind in ("matrices", "activity")
        samples = [sample(hard_network(), "hard"), sample(network(7, fall=0.5), "plain")]
        return DRAW_FILES[kind](samples[:1] if one else samples, Options(percent=100))
    return DRAW_RUNS[kind](runs, OPTIONS)


def picture_of(figure: Figure, path: Path) -> Path:
    """The figure without letters and without its layout, which no two versions make alike."""
    for text in figure.findobj(Text):
        text.set_visible(False)
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches() * DPI
    figure.set_size_inches(width / DPI, (round(height) + 0.01) / DPI)  # rounded alike by all
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def difference(path: Path, other: Path) -> float:
    """The root mean square, of 255, after a blur that hides where lines fall between pixels."""
    blurred = []
    for each in (path, other):
        with Image.open(each) as image:
            soft = image.convert("RGB").filter(ImageFilter.GaussianBlur(2))
            blurred.append(np.asarray(soft, dtype=float))
    assert blurred[0].shape == blurred[1].shape
    return float(np.sqrt(np.square(blurred[0] - blurred[1]).mean()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_is_as_reviewed(
    kind: str, runs: list[Run], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with styled():
        path = picture_of(figure_of(kind, runs), tmp_path / f"{kind}.png")
    expected = BASELINE / f"{kind}.png"
    if request.config.getoption("--update-golden"):
        BASELINE.mkdir(exist_ok=True)
        shutil.copy(path, expected)
    assert difference(path, expected) < TOLERANCE


def test_an_empty_panel_is_seen(runs: list[Run], tmp_path: Path) -> None:
    with styled():
        figure = figure_of("run-magnitude", runs)
        for line in list(figure.axes[0].lines):
            line.remove()
        path = picture_of(figure, tmp_path / "less.png")
    assert difference(path, BASELINE / "run-magnitude.png") > TOLERANCE


def test_every_kind_has_a_function() -> None:
    assert [*DRAW_FILES, *DRAW_RUNS] == list(KINDS)

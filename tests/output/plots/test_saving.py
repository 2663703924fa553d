"""A picture is written whole, and the same picture gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from condcli.analysis.condition import ConditionNumber
from condcli.errors import CannotFinishError, UsageError
from condcli.output.plots.curves import Along, Panel, curve_figure
from condcli.output.plots.key import Key
from condcli.output.plots.lines import Curve
from condcli.output.plots.saving import save
from condcli.output.plots.style import looks

HEADS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def figure() -> Figure:
    """One panel with every kind of line and sign."""
    bound = ConditionNumber(value=None, lower_bound=3.0, rank=1, size=2)
    key = Key(title="file", names=["net"], looks=looks(1))
    curve = Curve(look=key.looks[0], places=[1, 2, 3, 4, 5], values=[1.0, bound, 0.0, inf, None])
    panel = Panel(title=r"$\lambda_{\max}$", curves=[curve], threshold=2.0)
    return curve_figure([[panel]], Along(title="layer"), key)


def put(path: Path, draw: Callable[[], Figure] = figure, *, force: bool = False) -> bytes:
    save(draw, path, description="net <on> λ", dpi=50, force=force)
    return path.read_bytes()


@pytest.mark.parametrize("form", HEADS)
def test_the_same_figure_gives_the_same_bytes(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = put(tmp_path / f"a.{form}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert put(tmp_path / f"b.{form}") == first
    assert first.startswith(HEADS[form])
    for hint in (b"matplotlib.org", b"CreationDate", b"dc:date"):
        assert hint not in first


def test_the_picture_says_what_it_is_of(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.text["Description"] == "net <on> λ"
        assert image.width == 360  # 7.2 inches
    assert "net &lt;on&gt; λ" in put(tmp_path / "a.svg").decode()


def test_another_ending_is_wrong_usage(tmp_path: Path) -> None:
    for name in ("a.jpg", "a", "a.PNG.exe"):
        with pytest.raises(UsageError, match=r"let it end in \.png, \.svg or \.pdf"):
            put(tmp_path / name)
    assert put(tmp_path / "a.PNG").startswith(HEADS["png"])


def test_what_is_there_stays_without_force(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("mine")
    with pytest.raises(CannotFinishError, match="already exists"):
        put(path)
    assert path.read_text() == "mine"
    assert put(path, force=True).startswith(HEADS["png"])


def test_nothing_is_left_where_drawing_fails(tmp_path: Path) -> None:
    def fails() -> Figure:
        raise UsageError("no", "yes")

    with pytest.raises(UsageError):
        put(tmp_path / "a.png", fails)
    assert list(tmp_path.iterdir()) == []

"""Series can be told apart, and nothing of names and settings gets through."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from condcli.output.plots.style import COLORS, label, looks, shades, styled

# Viénot, Brettel & Mollon 1999: what protanopes and deuteranopes see, in linear RGB.
BLIND = {
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


def linear(color: object) -> np.ndarray:
    return np.array(to_rgb(color)) ** 2.2  # type: ignore[arg-type]


def luminance(color: object) -> float:
    return float(linear(color) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("kind", BLIND)
def test_colours_differ_for_those_who_see_two(kind: str) -> None:
    seen = [np.clip(np.array(BLIND[kind]) @ linear(color), 0, 1) ** (1 / 2.2) for color in COLORS]
    for i, color in enumerate(seen):
        for other in seen[:i]:
            assert np.linalg.norm(color - other) > 0.12


def test_a_few_series_have_markers_and_dashes_of_their_own() -> None:
    found = looks(len(COLORS))
    assert len({look.marker for look in found}) == len({str(look.dashes) for look in found}) == 7
    assert "" not in {look.marker for look in found}


@pytest.mark.parametrize("count", [8, 20, 1000])
def test_many_series_grow_lighter_and_their_ends_are_marked(count: int) -> None:
    found = looks(count)
    bright = [luminance(look.color) for look in found[:: max(1, count // 20)]]
    assert (np.diff(bright) > 0).all()
    assert bright[-1] < 0.6  # seen on white
    assert [bool(look.marker) for look in found] == [True, *[False] * (count - 2), True]


def test_the_users_settings_are_left_alone_and_have_no_effect() -> None:
    with mpl.rc_context({"font.size": 40, "axes.facecolor": "red", "text.usetex": True}):
        with styled():
            assert mpl.rcParams["font.size"] == 8
            assert not mpl.rcParams["text.usetex"]
            assert mpl.rcParams["axes.facecolor"] == "white"
        assert mpl.rcParams["font.size"] == 40


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("layers.3", "layers.3"),
        ("a$b$c", r"a\$b\$c"),
        ("blocks.12.attention.out_proj", "blocks.12.a…ion.out_proj"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202eright", "\\u202eright"),
        ("\u4e2d", "\\u4e2d"),
        ("é", "é"),
        ("", ""),
    ],
)
def test_a_name_is_made_fit_to_be_shown(name: str, shown: str) -> None:
    assert label(name) == shown


def test_a_name_is_no_formula() -> None:
    with styled():
        figure = Figure()
        figure.text(0, 0, label(r"$\frac{$1"))
        figure.text(0, 0, label(r"\$x\$"))
        figure.canvas.draw()
    assert len(label("x" * 10_000)) == 24


def test_the_map_is_of_the_order() -> None:
    assert luminance(shades()(0.0)) < 0.05

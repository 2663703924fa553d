from __future__ import annotations

from math import inf, nan

import pytest

from condcli.output.sparkline import bar, curve, histogram


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0], "▁▂▃▄▅▆▇█"),
        ([1.0, 100.0, 1.0], "▁█▁"),
        ([1.0, 2.0], "▁█"),  # a factor of two is the full height
        ([1.0, 2**0.5, 1.0], "▃▆▃"),
        ([5.0, 5.0 * (1 + 1e-12), 5.0 * (1 - 1e-12)], "▄▄▄"),
        ([0.0, -1.0, 1.0, 4.0], "▁▁▁█"),
        ([None, 1.0, nan, inf, 4.0], "·▁··█"),
        ([], ""),
        ([None], "·"),
        ([0.0], "▁"),
        ([1e-320, 1e308], "▁█"),
    ],
)
def test_a_curve_is_drawn_on_a_log_scale(values: list[float | None], drawn: str) -> None:
    assert curve(values, 8) == drawn


def test_of_many_values_evenly_spaced_ones_are_drawn_the_ends_too() -> None:
    values = [1.0] * 999 + [1e9]
    assert curve(values, 8) == "▁▁▁▁▁▁▁█"
    assert len(curve([10.0**k for k in range(100)], 24)) == 24


def test_a_histogram_is_drawn_to_its_most_and_one_of_many_is_seen() -> None:
    assert histogram([0, 700, 350, 1, 0]) == "▁█▅▂▁"
    assert histogram([0, 0]) == "▁▁"
    assert histogram([]) == ""


@pytest.mark.parametrize(
    ("ratio", "drawn"),
    [
        (1.0, "████████"),
        (50.0, "████████"),
        (inf, "████████"),
        (1e-4, "████····"),
        (3e-9, "········"),
        (0.0, "·" * 8),
        (5e-324, "·" * 8),
    ],
)
def test_a_bar_has_a_block_a_decade(ratio: float, drawn: str) -> None:
    assert bar(ratio) == drawn

from __future__ import annotations

import pytest

from condcli.output.page.contents import detail


@pytest.mark.parametrize(
    ("steps", "layers", "points", "kept"),
    [
        (1, 54, 200, 1),  # ResNet-50
        (50, 20, 62, 50),
        (160, 110, 20, 28),
        (50, 1000, 20, 3),
        (3, 0, 200, 3),
    ],
)
def test_curves_get_coarse_then_few_where_there_are_many(
    steps: int, layers: int, points: int, kept: int
) -> None:
    found, places = detail(steps, layers)
    assert (found, len(places)) == (points, kept)
    assert (places[0], places[-1]) == (0, steps - 1)
    assert 4 * layers * found * len(places) <= 250_000

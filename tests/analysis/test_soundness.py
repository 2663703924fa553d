from __future__ import annotations

import numpy as np
import pytest

from condcli.analysis.soundness import look_over
from condcli.errors import InputError

SIZE = 1100  # more than two tiles
EPS = 1e-7


def symmetric(*shape: int) -> np.ndarray:
    matrix = np.random.default_rng(0).standard_normal(shape)
    return matrix + matrix.swapaxes(1, 2)


@pytest.mark.parametrize("shape", [(1, SIZE, SIZE), (2, 700, 700), (50, 9, 9)])
def test_sums_are_those_of_all_entries(shape: tuple[int, ...]) -> None:
    matrices = symmetric(*shape)
    matrices[:, 3] = matrices[:, :, 3] = 0
    found = look_over(matrices, eps=EPS, name="layer")
    np.testing.assert_allclose(found.total, matrices.sum(axis=(1, 2)), rtol=1e-9)
    np.testing.assert_allclose(found.size, np.abs(matrices).sum(axis=(1, 2)))
    assert found.alive.tolist() == [shape[1] - 1] * shape[0]
    assert found.asymmetry == 0


@pytest.mark.parametrize("place", [(0, 0), (5, 1000), (1000, 5), (1099, 1099), (600, 900)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_wherever_it_is(place: tuple[int, int], bad: float) -> None:
    matrices = symmetric(1, SIZE, SIZE).astype(np.float32)
    matrices[0][place] = bad
    with pytest.raises(InputError, match="layer 'fc' holds NaN or infinity"):
        look_over(matrices, eps=EPS, name="layer 'fc'")


def test_infinity_on_both_sides_is_found() -> None:
    matrices = symmetric(1, SIZE, SIZE)
    matrices[0, 5, 1000] = matrices[0, 1000, 5] = np.inf
    with pytest.raises(InputError, match="holds NaN or infinity"):
        look_over(matrices, eps=EPS, name="layer")


@pytest.mark.parametrize("place", [(5, 1000), (1000, 5), (3, 4), (600, 900)])
def test_a_difference_from_the_mirror_image_is_found_wherever_it_is(
    place: tuple[int, int],
) -> None:
    matrices = symmetric(1, SIZE, SIZE)
    matrices[0][place] += 0.5
    with pytest.raises(InputError, match=r"is not symmetric \(by up to 0.5\)"):
        look_over(matrices, eps=EPS, name="layer")
    matrices[0][place] -= 0.5 - 1e-6
    assert look_over(matrices, eps=EPS, name="layer").asymmetry == pytest.approx(1e-6)


def test_the_largest_float32_numbers_are_finite() -> None:
    matrices = np.full((1, 2, 2), np.finfo(np.float32).max, dtype=np.float32)
    assert look_over(matrices, eps=EPS, name="layer").size[0] > 1e39

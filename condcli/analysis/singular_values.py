"""Singular values of weights and their gradients, in float64.

The eigenvalues of WᵀW are the squares, and LAPACK finds them in a third of the time. Rounding moves
an eigenvalue by a few eps · σ_max², so a singular value by a few eps · σ_max² / σ: where none is
small, that is far below 1e-10 · σ_max. Where one is, W itself is decomposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from condcli.analysis.solvers import singular_values_of
from condcli.analysis.workspace import require_workspace
from condcli.errors import InputError
from condcli.stats import FloatArray

ACCURACY = 1e-10  # of σ_max: smaller values are no better known than that

_SMALL = 32  # up to here, all groups at once are quicker
_LEAST = 1e-12  # of the largest eigenvalue of WᵀW: σ from 1e-6 · σ_max
_SQUARABLE = (1e-100, 1e100)
_WORTH_THREADS = 2**12  # entries: fewer are decomposed sooner than threads start


def singular_values_of_each(stacks: Mapping[str, FloatArray]) -> list[FloatArray]:
    """What `singular_values` gives for each, found side by side; the keys are their names."""
    if sum(stack.size for stack in stacks.values()) < _WORTH_THREADS:
        return [singular_values(stack, name) for name, stack in stacks.items()]
    with ThreadPoolExecutor(len(stacks)) as pool:
        return list(pool.map(singular_values, stacks.values(), stacks))


def singular_values(matrices: FloatArray, name: str = "a matrix") -> FloatArray:
    """The singular values of (m, n) or (G, m, n), descending, (G · min(m, n),).

    Each is right to 1e-10 · σ_max of its group; all are NaN where an entry is not finite.
    Raises `InputError`, beginning with `name`, where no solver finds them.
    """
    require_workspace()
    stack = np.asarray(matrices if matrices.ndim == 3 else matrices[None], dtype=np.float64)
    if not np.isfinite(stack.sum()) and not np.isfinite(stack).all():
        return np.full(len(stack) * min(stack.shape[1:]), np.nan)
    tall = stack if stack.shape[1] >= stack.shape[2] else stack.swapaxes(1, 2)
    try:
        if tall.shape[2] <= _SMALL:
            values = singular_values_of(tall)
        else:
            values = np.stack([_of_one(matrix) for matrix in tall])
    except np.linalg.LinAlgError as error:
        raise InputError(
            f"{name}: no solver finds its singular values", "leave it out with --exclude"
        ) from error
    return np.sort(values, axis=None)[::-1]


def _of_one(tall: FloatArray) -> FloatArray:
    """In any order. Rows and columns of zeros, as of unused tokens and dead units, are left out."""
    dense = _without_zeros(_without_zeros(tall, axis=0), axis=1)
    if dense.shape[0] < dense.shape[1]:
        dense = dense.T
    found = _of_dense(dense)
    return np.append(found, np.zeros(tall.shape[1] - len(found)))


def _without_zeros(matrix: FloatArray, *, axis: int) -> FloatArray:
    alive = matrix.any(axis=1 - axis)
    return matrix if alive.all() else matrix.compress(alive, axis=axis)


def _of_dense(tall: FloatArray) -> FloatArray:
    least, most = _SQUARABLE
    if tall.size and least < np.abs(tall).max() < most:
        squares = _squares(tall)
        if squares is not None and squares[0] > _LEAST * squares[-1]:
            return np.sqrt(squares)
    return singular_values_of(tall)


def _squares(tall: FloatArray) -> FloatArray | None:
    """Ascending; None where LAPACK does not find them."""
    try:
        return np.linalg.eigvalsh(tall.T @ tall)
    except np.linalg.LinAlgError:
        return None

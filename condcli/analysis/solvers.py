"""LAPACK's solvers, in the order in which they are tried.

The fastest of them may fail to converge where a slower one does not, or hand back NaN. All are
given only finite and exactly symmetric matrices: for others they give numbers that mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from condcli.analysis.workspace import require_workspace_of_scipy
from condcli.errors import InputError
from condcli.stats import FloatArray

Solve = Callable[[FloatArray], FloatArray]  # (G, d, d) symmetric → eigenvalues (G, d), ascending


class EigenSolver:
    """A `Solve` that falls back to other drivers; `note` tells which one had to be taken.

    The errors begin with `name`. One object serves one layer.
    """

    def __init__(self, first: Solve, name: str) -> None:
        self.note: str | None = None
        self._first = first
        self._name = name

    def __call__(self, matrices: FloatArray) -> FloatArray:
        """The eigenvalues; `InputError` where no driver finds them."""
        found = _tried(self._first, matrices)
        return np.stack([self._otherwise(m) for m in matrices]) if found is None else found

    def _otherwise(self, matrix: FloatArray) -> FloatArray:
        for driver, solve in _DRIVERS.items():
            found = _tried(solve, matrix)
            if found is not None:
                self.note = f"the usual eigen-solver failed; solved by {driver}"
                return found
        raise InputError(
            f"{self._name}: no eigen-solver finds its eigenvalues",
            "look at its numbers, or ask for other --layers",
        )


def singular_values_of(matrices: FloatArray) -> FloatArray:
    """The singular values of finite matrices (…, m, n), descending.

    Raises numpy's LinAlgError where no driver finds them.
    """
    found = _tried(_divide_and_conquer, matrices)
    if found is not None:
        return found
    stack = matrices.reshape(-1, *matrices.shape[-2:])
    each = [_tried(_by_qr, matrix) for matrix in stack]
    known = [values for values in each if values is not None]
    if len(known) < len(each):
        raise np.linalg.LinAlgError("no driver finds the singular values")
    return np.stack(known).reshape(*matrices.shape[:-2], -1)


def _tried(solve: Solve, matrices: FloatArray) -> FloatArray | None:
    """What it finds; None where it fails, and where it claims NaN or infinity."""
    try:
        found = solve(matrices)
    except np.linalg.LinAlgError:
        return None
    return found if np.isfinite(found).all() else None


def _evd(matrix: FloatArray) -> FloatArray:
    return np.linalg.eigvalsh(matrix)


def _evr(matrix: FloatArray) -> FloatArray:
    from scipy.linalg import eigh  # only where the usual solver fails

    require_workspace_of_scipy()
    values: FloatArray = eigh(matrix, eigvals_only=True, driver="evr", check_finite=False)
    return values


def _svd(matrix: FloatArray) -> FloatArray:
    """From the singular values of the matrix plus a multiple of I that makes it positive.

    That costs eps · ‖A‖_F of precision, which is under the noise floor, d · eps · λ_1.
    """
    shift = float(np.linalg.norm(matrix))
    shifted = matrix + shift * np.eye(len(matrix))
    return singular_values_of(shifted)[::-1] - shift


def _divide_and_conquer(matrices: FloatArray) -> FloatArray:
    return np.linalg.svd(matrices, compute_uv=False)


def _by_qr(matrix: FloatArray) -> FloatArray:
    from scipy.linalg import svd

    require_workspace_of_scipy()
    values: FloatArray = svd(matrix, compute_uv=False, lapack_driver="gesvd", check_finite=False)
    return values


_DRIVERS: dict[str, Solve] = {"LAPACK's evd": _evd, "LAPACK's evr": _evr, "LAPACK's SVD": _svd}

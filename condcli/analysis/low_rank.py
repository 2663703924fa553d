"""The eigenvalues of a large second moment of few rows, from a thin factor.

A moment A of r rows is L Lᵀ with r columns in L. A pivoted Cholesky decomposition finds L from r
columns of A; the eigenvalues of A other than zero are those of Lᵀ L, r × r. The work is of order
d·r² instead of d³. Rounding in A leaves a remainder S = A - L Lᵀ, and by Weyl's theorem no
eigenvalue is off by more than ‖S‖₂, which is bounded with a few products, never forming S.
"""

from __future__ import annotations

import numpy as np

from condcli.analysis.solvers import Solve
from condcli.analysis.workspace import require_workspace_of_scipy
from condcli.stats import FloatArray, IntArray

_BLOCK = 64  # columns of A that are taken at once
_PROBES = 10


def low_rank_eigenvalues(
    matrix: FloatArray, *, rank: int, eps: float, tolerance: float, solve: Solve
) -> FloatArray | None:
    """The eigenvalues of (d, d) of a rank, descending, (d,), zero beyond the rank.

    None when they may be off by more than `tolerance` times the largest. `eps` is the precision
    that the matrix was measured with.
    """
    factor = _pivoted_cholesky(matrix, rank, eps)
    if not len(factor):
        return None
    found = solve((factor @ factor.T)[None])[0]
    largest = float(found[-1])
    if _norm_of_remainder(matrix, factor, largest) > tolerance:
        return None
    return np.sort(np.append(found, np.zeros(len(matrix) - len(found))))[::-1]


def _pivoted_cholesky(matrix: FloatArray, rank: int, eps: float) -> FloatArray:
    """Lᵀ of A ≈ L Lᵀ, (at most `rank`, d).

    In each round the columns with the largest remaining diagonals are candidates, and a pivoted
    decomposition of the little matrix between them tells which are independent enough.
    """
    factor = np.zeros((rank, len(matrix)))
    remaining = np.diagonal(matrix).astype(np.float64)
    noise = 4 * eps * remaining.max()
    done = 0
    for _ in range(32 + rank // 4):
        if done == rank or remaining.max() <= noise:
            break
        count = min(_BLOCK, rank - done)
        candidates = np.argpartition(remaining, len(matrix) - count)[-count:]
        columns = matrix[candidates].astype(np.float64)
        columns -= factor[:done, candidates].T @ factor[:done]
        chosen, new = _independent(columns, candidates, max(noise, remaining.max() / 2))
        factor[done : done + len(new)] = new
        done += len(new)
        remaining -= np.einsum("ij,ij->j", new, new)
        remaining[chosen] = 0.0
    return factor[:done]


def _independent(
    columns: FloatArray, candidates: IntArray, least: float
) -> tuple[IntArray, FloatArray]:
    """Which of the candidates have a pivot above `least`, and their rows of Lᵀ."""
    from scipy.linalg import solve_triangular  # only large matrices need SciPy
    from scipy.linalg.lapack import dpstrf

    require_workspace_of_scipy()
    lower, order, count, _ = dpstrf(columns[:, candidates], lower=1, tol=least)
    chosen = order[:count] - 1
    triangle = lower[:count, :count]
    return candidates[chosen], solve_triangular(
        triangle, columns[chosen], lower=True, check_finite=False
    )


def _norm_of_remainder(matrix: FloatArray, factor: FloatArray, scale: float) -> float:
    """A bound of ‖A - L Lᵀ‖₂ / scale that fails with a probability under 1e-10.

    ‖S‖₂³ ≤ 10·√(2/π)·max ‖S³ ω‖ over Gaussian ω (Halko, Martinsson & Tropp, SIAM Review 2011,
    Lemma 4.1). The cube makes it tight: at most about five times too large, not √d times.
    """
    vectors = np.random.default_rng(0).standard_normal((len(matrix), _PROBES))
    for _ in range(3):
        products = [
            matrix[i : i + 512].astype(np.float64) @ vectors for i in range(0, len(matrix), 512)
        ]
        vectors = (np.concatenate(products) - factor.T @ (factor @ vectors)) / scale
    largest = float(np.linalg.norm(vectors, axis=0).max())
    return float((10 * (2 / np.pi) ** 0.5 * largest) ** (1 / 3))

"""The largest eigenvalues of a symmetric matrix alone, in a few products with it.

The block Lanczos method with full reorthogonalisation (Golub & Van Loan, Matrix Computations,
§10.3): the Krylov space of as many random vectors as eigenvalues are wanted, so that eigenvalues
that occur several times are all found. ARPACK's single vector can miss them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from condcli.stats import FloatArray

_ACCURACY = 1e-10  # relative
_SMALL = 192  # below, the whole spectrum is as quick
_PIECE = 2**17  # numbers in float64 that are still in the cache when they are multiplied


def largest_eigenvalues(matrix: FloatArray, count: int) -> FloatArray | None:
    """The `count` largest eigenvalues of a positive semidefinite (d, d), descending.

    Each is within 1e-10 of an eigenvalue, relatively. None where the whole spectrum is the
    quicker way: small matrices, many eigenvalues, and tight clusters; and where LAPACK fails.
    """
    size = len(matrix)
    if size < _SMALL or 4 * count > size // 4:
        return None
    try:
        return _by_blocks(matrix, count)
    except np.linalg.LinAlgError:
        return None


def _by_blocks(matrix: FloatArray, count: int) -> FloatArray | None:
    """None where a space of a quarter of the dimensions is not enough."""
    size = len(matrix)
    limit = size // 4
    # Norms of tiny numbers vanish; a power of two rounds nothing.
    scale = float(2.0 ** np.frexp(np.diagonal(matrix).max())[1])
    basis = np.empty((limit, size))  # its rows are orthonormal
    projected = np.zeros((limit, limit))
    block, _ = _orthonormal(np.random.default_rng(0).standard_normal((count, size)), 0.0)
    used = 0
    while used + len(block) <= limit:
        first, used = used, used + len(block)
        basis[first:used] = block
        product = _times(matrix, block) / scale
        coefficients = product @ basis[:used].T
        projected[first:used, :used] = coefficients
        projected[:used, first:used] = coefficients.T
        rest = product - coefficients @ basis[:used]
        rest -= (rest @ basis[:used].T) @ basis[:used]
        values, vectors = np.linalg.eigh(projected[:used, :used])
        largest = max(values[-1], 0.0)
        block, weights = _orthonormal(rest, 1e-14 * largest)
        # What little is left of a residual may be rounding, and that lies inside the space.
        block, _ = _orthonormal(block - (block @ basis[:used].T) @ basis[:used], 0.5)
        if used < count and len(block):
            continue
        found = np.append(values[::-1], np.zeros(count))[:count]
        residuals = np.linalg.norm(weights @ vectors[first:used, ::-1][:, :count], axis=0)
        allowed = _ACCURACY * np.abs(found[: len(residuals)]) + 1e-14 * largest
        if (residuals <= allowed).all():
            found *= scale
            return found
    return None


def _times(matrix: FloatArray, vectors: FloatArray) -> FloatArray:
    """The products of a symmetric (d, d) with vectors (k, d), in float64 without a copy of it."""
    if matrix.dtype == np.float64:
        found: FloatArray = vectors @ matrix
        return found
    found = np.empty(vectors.shape)
    rows = -(-_PIECE // len(matrix))
    work = np.empty((rows, len(matrix)))
    for start in range(0, len(matrix), rows):
        some = matrix[start : start + rows]
        wide = work[: len(some)]
        np.copyto(wide, some)
        np.matmul(vectors, wide.T, out=found[:, start : start + rows])
    return found


def _orthonormal(vectors: FloatArray, negligible: float) -> tuple[FloatArray, FloatArray]:
    """Orthonormal rows B, and W with W.T @ B = the vectors but for what is negligible."""
    left, sizes, right = np.linalg.svd(vectors, full_matrices=False)
    kept = sizes > negligible
    return right[kept], (left * sizes).T[kept]


def largest_eigenpair(
    product: Callable[[FloatArray], FloatArray], start: FloatArray, tolerance: float
) -> tuple[float, FloatArray]:
    """The largest eigenvalue of a symmetric (d, d), and its vector, (d,), of length 1.

    `product` takes v to A v. From `start`, a step a product, until the residual is at most
    `tolerance` of the eigenvalue, which is then off by about the square of that. Only what the
    start has a part in is found.
    """
    basis = np.empty((8, len(start)))
    projected = np.zeros((8, 8))
    following = start / np.linalg.norm(start)
    for used in range(1, len(start) + 1):
        if used > len(basis):
            basis = np.concatenate([basis, np.empty_like(basis)])
            projected = np.pad(projected, (0, len(projected)))
        basis[used - 1] = following
        space, image = basis[:used], product(following)
        coefficients = space @ image
        projected[used - 1, :used], projected[:used, used - 1] = coefficients, coefficients
        rest = image - coefficients @ space
        rest -= (space @ rest) @ space
        values, vectors = np.linalg.eigh(projected[:used, :used])
        length = float(np.linalg.norm(rest))
        if length * abs(vectors[-1, -1]) <= tolerance * abs(values[-1]):
            break
        following = rest / length
    return float(values[-1]), vectors[:, -1] @ space

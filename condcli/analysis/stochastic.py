"""What products with a symmetric matrix tell of it: eigenvalues, trace, norm, density.

- Lanczos (ARPACK) for the ends of the spectrum;
- Hutchinson's estimates with random signs v: tr F = E vᵀFv, ‖F‖_F² = E ‖Fv‖²;
- stochastic Lanczos quadrature: the eigenvalues and first components of the tridiagonal matrices of
  Lanczos from random signs are nodes and weights of the density (Ubaru, Chen & Saad, SIAM J. Matrix
  Anal. Appl. 2017).

Errors are standard errors over the random vectors, which a seed fixes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from condcli.analysis.solvers import EigenSolver
from condcli.errors import CannotFinishError, UsageError
from condcli.stats import FloatArray

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

_ACCURACY = 1e-6  # of the largest eigenvalues, relative: no error is larger, and most far smaller
_ACCURACY_OF_SMALL = 1e-4  # of the smallest, relative to the largest
_ROUGH = 0.1  # of a shift
_RESTARTS = 100
_SMALL = 16  # below, the whole matrix is as quick


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over random vectors, and its standard error."""

    value: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Estimates of the trace and the squared Frobenius norm, from the same vectors."""

    trace: Estimate
    squared_norm: Estimate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Density:
    """The spectral density as weighted nodes, ascending; the weights sum to 1."""

    nodes: FloatArray  # (k,)
    weights: FloatArray  # (k,)

    def smoothed(self, at: FloatArray, width: float) -> FloatArray:
        """The density at these eigenvalues, each node widened to a Gaussian of this deviation."""
        distances = (np.asarray(at)[:, None] - self.nodes) / width
        peaks: FloatArray = np.exp(-(distances**2) / 2) @ self.weights
        return peaks / (width * math.sqrt(2 * math.pi))


def extreme_eigenvalues(
    operator: LinearOperator, count: int = 1, *, end: str = "LA", seed: int = 0
) -> FloatArray:
    """The `count` largest (`end` LA, descending) or smallest (SA, ascending) eigenvalues.

    The largest are within 1e-6 of an eigenvalue, relatively; the smallest within 1e-4 of the
    largest in size.

    Raises `CannotFinishError` where Lanczos does not converge.
    """
    size = operator.shape[0]
    if not 1 <= count <= size:
        raise UsageError(f"{count} of {size} eigenvalues cannot be asked for", "ask for fewer")
    if count >= size - 1 or size <= _SMALL:
        solve = EigenSolver(np.linalg.eigvalsh, "the matrix")
        values: FloatArray = solve(_symmetric(operator @ np.eye(size))[None])[0]
        return values[:count] if end == "SA" else values[::-1][:count]
    if end == "LA":
        return _largest(lambda v: operator @ v, size, count, _ACCURACY, seed)
    # Near zero no accuracy relative to the eigenvalue itself can be had: relative to the largest.
    shift = abs(float(_largest(lambda v: operator @ v, size, 1, _ROUGH, seed)[0]))
    turned = _largest(lambda v: shift * v - operator @ v, size, count, _ACCURACY_OF_SMALL, seed)
    return shift - turned


def _largest(
    product: Callable[[FloatArray], FloatArray], size: int, count: int, accuracy: float, seed: int
) -> FloatArray:
    """The `count` largest eigenvalues, descending."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(size)
    if not product(start).any():
        return np.zeros(count)
    try:
        values: FloatArray = eigsh(
            operator,
            k=count,
            which="LA",
            v0=start,
            tol=accuracy,
            maxiter=_RESTARTS,
            return_eigenvectors=False,
        )
    except ArpackError as error:
        raise CannotFinishError(
            f"Lanczos does not converge on a matrix of {size} × {size}", "ask for fewer eigenvalues"
        ) from error
    return np.sort(values)[::-1]


def estimated_moments(operator: LinearOperator, *, vectors: int = 30, seed: int = 0) -> Moments:
    """Hutchinson's estimates from so many `vectors`, two or more."""
    if vectors < 2:
        raise UsageError(f"{vectors} random vectors have no standard error", "pass 2 or more")
    rng = np.random.default_rng(seed)
    traces, norms = [], []
    for _ in range(vectors):
        signs = _signs(rng, operator.shape[0])
        image = operator @ signs
        traces.append(float(signs @ image))
        norms.append(float(image @ image))
    return Moments(trace=_estimate(traces), squared_norm=_estimate(norms))


def spectral_density(
    operator: LinearOperator, *, vectors: int = 10, steps: int = 50, seed: int = 0
) -> Density:
    """The density from `vectors` runs of at most `steps` steps of Lanczos each."""
    if vectors < 1 or steps < 1:
        raise UsageError("a density needs one vector and one step or more", "pass 1 or more")
    rng = np.random.default_rng(seed)
    nodes, weights = [], []
    for _ in range(vectors):
        diagonal, beside = _tridiagonal(operator, _signs(rng, operator.shape[0]), steps)
        matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        values, columns = np.linalg.eigh(matrix)
        nodes.append(values)
        weights.append(columns[0] ** 2 / vectors)
    order = np.argsort(np.concatenate(nodes))
    return Density(nodes=np.concatenate(nodes)[order], weights=np.concatenate(weights)[order])


def _tridiagonal(
    operator: LinearOperator, start: FloatArray, steps: int
) -> tuple[FloatArray, FloatArray]:
    """Lanczos with full reorthogonalisation: the diagonal, and what is beside it."""
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, len(start))):
        image = operator @ basis[-1]
        diagonal.append(float(basis[-1] @ image))
        known = np.array(basis)
        for _ in range(2):
            image = image - known.T @ (known @ image)
        length = float(np.linalg.norm(image))
        if length <= 1e-12 * max(map(abs, diagonal)):
            break
        beside.append(length)
        basis.append(image / length)
    return np.array(diagonal), np.array(beside[: len(diagonal) - 1])


def _estimate(values: list[float]) -> Estimate:
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Estimate(value=float(np.mean(values)), error=error)


def _signs(rng: np.random.Generator, size: int) -> FloatArray:
    signs: FloatArray = rng.integers(0, 2, size) * 2.0 - 1.0
    return signs


def _symmetric(matrix: FloatArray) -> FloatArray:
    halves: FloatArray = (matrix + matrix.T) / 2
    return halves

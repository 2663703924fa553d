"""The top of a positive semidefinite matrix A from one set of products with it, Y = A Ω.

Nyström's approximation A Ω (Ωᵀ A Ω)⁻¹ Ωᵀ A, with Gaussian Ω, needs A but once (Tropp, Yurtsever,
Udell & Cevher, "Fixed-rank approximation of a positive-semidefinite matrix from streaming data",
NeurIPS 2017). It is never above A. How far below is told by columns of Ω that it has not seen.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

import torch
from torch import Tensor

COLUMNS = 256  # of Ω, that the approximation is made of
FEWEST_TESTS = 32  # further ones, that tell its error
FAILURE = 1e-10  # the probability that the error is larger than told
_SEED = 0x6E79_7374  # of nobody else: Ω must know nothing of the data


def columns_of(max_dim: int) -> tuple[int, int]:
    """How many columns of Ω make a sketch, no more than ``max_dim``, and how many test it."""
    made = min(COLUMNS, max_dim)
    return made, max(FEWEST_TESTS, made // 2)


@lru_cache(maxsize=4)
def gaussian(size: int, columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Ω, (size, columns), of float32 numbers; the same in every process."""
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn(size, columns, generator=generator).to(device, dtype)


def nystrom(products: Tensor, omega: Tensor, tests: int, eps: float) -> tuple[Tensor, float]:
    """F, (k, d), with FᵀF ≈ A, and a bound of ‖A - FᵀF‖₂; both NaN where a product is not finite.

    ``products`` are A Ω, float64, to the precision ``eps``; the last ``tests`` columns are for the
    bound. The rows of F are orthogonal, in descending order: their squared norms are the
    eigenvalues of FᵀF.
    """
    if not products.sum().isfinite():
        return products.new_full((1, len(products)), torch.nan), torch.nan
    made, told = products[:, :-tests], products[:, -tests:]
    core = omega[:, :-tests].T @ made
    values, vectors = torch.linalg.eigh((core + core.T) / 2)
    # In the directions that are left out, the core is but rounding.
    kept = values > len(values) * eps * values[-1]
    kept[-1] = True
    sizes = values[kept].clamp_min(torch.finfo(values.dtype).tiny).sqrt()
    factor = (made @ (vectors[:, kept] / sizes)).T
    factor = torch.linalg.eigh(factor @ factor.T)[1].flip(1).T @ factor
    missed = told - factor.T @ (factor @ omega[:, -tests:])
    return factor, _norm_from_products(missed)


def _norm_from_products(products: Tensor) -> float:
    """A bound of ‖S‖₂, for symmetric S, from S Ω of a Gaussian Ω that knows nothing of it.

    For an eigenvector v of the largest |λ|, ‖S Ω‖₂ ≥ ‖vᵀ S Ω‖ = |λ|·‖vᵀ Ω‖, of which the square
    has the χ² distribution of as many degrees of freedom as there are columns. It is under that
    one's quantile with the probability ``FAILURE``.
    """
    from scipy.special import gammaincinv

    quantile = 2 * float(gammaincinv(products.shape[1] / 2, FAILURE))
    return sqrt(float(torch.linalg.eigvalsh(products.T @ products)[-1].clamp_min(0)) / quantile)

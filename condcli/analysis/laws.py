"""What holds of every layer's statistics, whatever the network and the data.

Rounding is allowed for as in `condcli spectrum`: √eps of the probe's precision, times the largest
number of its kind. Each law gives how many things it was tried on, and raises `InputError` for one
that breaks it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields

import numpy as np

from condcli.analysis.eigenvalues import spectrum_of
from condcli.analysis.factors import mean_squares
from condcli.analysis.scaling import gradients_a_row
from condcli.analysis.soundness import look_over
from condcli.analysis.workspace import require_workspace
from condcli.errors import InputError
from condcli.stats import FloatArray, LayerStats, Provenance

_EXACT = 1e-9  # relative: more than float64 moves in a sum over one layer


def require(holds: object, message: str) -> None:
    """Raise `InputError` unless it holds."""
    if not holds:
        raise InputError(message, "probe the model again")


def finite(layer: LayerStats, provenance: Provenance) -> int:
    """No number is NaN or infinity."""
    values = {item.name: getattr(layer, item.name) for item in fields(layer)}
    numbers = {name: x for name, x in values.items() if isinstance(x, np.ndarray | float)}
    for name, value in numbers.items():
        require(np.isfinite(value).all(), f"{name} holds NaN or infinity")
    return len(numbers)


def symmetric(layer: LayerStats, provenance: Provenance) -> int:
    """Moments are symmetric."""
    found = 0
    for name, matrices, _ in _moments(layer, provenance):
        if matrices.ndim > 1:
            stack = _stack(matrices)
            look_over(stack, eps=_eps(provenance), name=name)
            found += len(stack)
    return found


def positive(layer: LayerStats, provenance: Provenance) -> int:
    """Moments have no negative eigenvalue, and an embedding's diagonal sums to 1.

    What stands for one has none in any case: its trace is the moment's own, or less if a sketch.
    """
    found = sum(_check_factor(layer, side, provenance) for side in ("input", "grad"))
    for name, matrices, rows in _moments(layer, provenance):
        found += len(_stack(matrices))
        if matrices.ndim == 1:
            require(
                abs(matrices.sum() - 1) <= _EXACT, f"{name} sums to {matrices.sum():.6g}, not 1"
            )
        if matrices.ndim == 1 or not _all_factor(_stack(matrices), math.sqrt(_eps(provenance))):
            spectrum_of(matrices, rows=rows, eps=_eps(provenance), name=name)
    return found


def means(layer: LayerStats, provenance: Provenance) -> int:
    """The square of a mean is no larger than the mean of the squares."""
    for side in ("input", "grad"):
        mean: FloatArray = getattr(layer, f"{side}_mean")
        squares = mean_squares(layer, side) + (getattr(layer, f"{side}_error") or 0.0)
        slack = math.sqrt(_eps(provenance)) * squares.max(initial=0.0)
        require((mean**2 <= squares + slack).all(), f"{side}_mean is too large for {side}_moment")
    return 2


def singular_values(layer: LayerStats, provenance: Provenance) -> int:
    """Singular values descend to zero or above, and their squares sum to that of the norm."""
    for what in ("weight", "weight_grad"):
        values: FloatArray = getattr(layer, f"{what}_singular_values")
        norm: float = getattr(layer, f"{what}_norm")
        name = f"{what}_singular_values"
        require((np.diff(values) <= 0).all() and (values >= 0).all(), f"{name} do not descend to 0")
        largest = values.max(initial=0.0)
        summed = largest * np.linalg.norm(values / largest) if largest else 0.0
        slack = math.sqrt(np.finfo(np.float32).eps) * max(norm, summed)
        require(abs(summed - norm) <= slack, f"{name} give the norm {summed:.6g}, not {norm:.6g}")
    return 2


def counts(layer: LayerStats, provenance: Provenance) -> int:
    """What was counted is there, and the ratios are those of the counts."""
    for name in ("rows", "input_rows", "calls"):
        require(getattr(layer, name) > 0, f"{name} is {getattr(layer, name)}")
    require(layer.parameters >= 0, f"parameters is {layer.parameters}")
    positions = layer.rows / provenance.loss_terms
    require(
        math.isclose(layer.positions, positions, rel_tol=_EXACT),
        f"positions is {layer.positions:.6g}, and rows / loss_terms {positions:.6g}",
    )
    return 5


# What holds, and of what.
LAWS: dict[str, tuple[str, Callable[[LayerStats, Provenance], int]]] = {
    "finite": ("arrays and numbers", finite),
    "symmetric": ("matrices", symmetric),
    "positive semi-definite": ("matrices", positive),
    "means within moments": ("means", means),
    "norms of singular values": ("lists", singular_values),
    "counts of layers": ("counts", counts),
}


def _check_factor(layer: LayerStats, side: str, provenance: Provenance) -> int:
    """How many factors one side has, whose trace and error can be true."""
    factor: FloatArray | None = getattr(layer, f"{side}_factor")
    if factor is None:
        return 0
    error, trace = getattr(layer, f"{side}_error"), getattr(layer, f"{side}_trace")
    held = float(np.linalg.norm(factor.astype(np.float64))) ** 2
    slack = math.sqrt(_eps(provenance)) * max(held, trace)
    require(error >= 0, f"{side}_error is {error:.6g}")
    above = held - trace
    require(
        above <= slack and (error or above >= -slack),
        f"{side}_factor has the trace {held:.6g}, and {side}_trace is {trace:.6g}",
    )
    return 1 if factor.ndim == 2 else len(factor)


def _moments(layer: LayerStats, provenance: Provenance) -> Iterator[tuple[str, FloatArray, int]]:
    """Those that are stored as such: name, values, and how many vectors they are made of."""
    grads = layer.rows * gradients_a_row(provenance)
    for name, rows in (("input_moment", layer.input_rows), ("grad_moment", grads)):
        matrices = getattr(layer, name)
        if matrices is not None:
            yield name, matrices, rows


def _stack(matrices: FloatArray) -> FloatArray:
    """(G, d, d); one that is stored as a diagonal stays as it is, (1, d)."""
    return matrices if matrices.ndim == 3 else matrices[None]


def _eps(provenance: Provenance) -> float:
    return float(np.finfo(provenance.dtype).eps)


def _all_factor(stack: FloatArray, tolerance: float) -> bool:
    """Whether all have a Cholesky factor once their diagonals are raised by so much of the largest.

    Then no eigenvalue is further below zero: a sixth of the work of finding them.
    """
    require_workspace()
    for matrix in stack:
        largest = float(np.diagonal(matrix).max(initial=0.0))
        if largest <= 0:
            return False
        raised = matrix.astype(np.float64)
        raised = (raised + raised.T) * (0.5 / largest)
        raised[np.diag_indices(len(raised))] += tolerance
        try:
            np.linalg.cholesky(raised)
        except np.linalg.LinAlgError:
            return False
    return True

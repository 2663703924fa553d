"""What products alone tell of a curvature matrix and its blocks: extremes, trace, norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from condcli.analysis.exact import WHOLE
from condcli.analysis.stochastic import Moments, estimated_moments, extreme_eigenvalues

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFreeRow:
    """One diagonal block, or the whole matrix, by Lanczos and random vectors."""

    layer: str = field(metadata={"title": "layer"})
    parameters: int = field(metadata={"title": "P", "drop": 2})
    lambda_max: float = field(metadata={"title": "λmax"})
    # None where the matrix has no negative eigenvalue by its nature
    lambda_min: float | None = field(metadata={"title": "λmin", "optional": True})
    trace: float = field(metadata={"title": "trace"})
    trace_error: float = field(metadata={"title": "±"})  # standard error
    norm: float = field(metadata={"title": "‖F‖F", "drop": 1})
    norm_error: float = field(metadata={"title": "±", "drop": 1})
    # estimated, of the whole matrix's squared Frobenius norm; of the whole: the blocks together
    share: float | None = field(metadata={"title": "share", "format": "percent"})


def matrix_free_rows(
    blocks: Mapping[str, LinearOperator],
    whole: LinearOperator,
    *,
    indefinite: bool,
    vectors: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[MatrixFreeRow]:
    """One row a block, in their order, and one of the whole, named `(all layers)`.

    Eigenvalues are Lanczos' (`extreme_eigenvalues` says how near); trace and norm are means over
    `vectors` random vectors, with their standard errors. `indefinite` matrices have a smallest
    eigenvalue, too.
    """
    operators = {**blocks, WHOLE: whole}
    measured: dict[str, tuple[Moments, float, float | None]] = {}
    for done, (name, operator) in enumerate(operators.items()):
        progress(done, len(operators))
        if name == WHOLE and len(blocks) == 1:  # the same matrix
            measured[name] = next(iter(measured.values()))
            continue
        moments = estimated_moments(operator, vectors=vectors, seed=seed)
        largest = float(extreme_eigenvalues(operator, seed=seed)[0])
        least = float(extreme_eigenvalues(operator, end="SA", seed=seed)[0]) if indefinite else None
        measured[name] = (moments, largest, least)
    progress(len(operators), len(operators))
    squares = {name: found[0].squared_norm for name, found in measured.items()}
    total = squares[WHOLE].value
    rows = []
    for name, (moments, largest, least) in measured.items():
        norm = math.sqrt(squares[name].value)
        own = squares[name].value
        if name == WHOLE:
            own = sum(squares[block].value for block in blocks)
        rows.append(
            MatrixFreeRow(
                layer=name,
                parameters=operators[name].shape[0],
                lambda_max=largest,
                lambda_min=least,
                trace=moments.trace.value,
                trace_error=moments.trace.error,
                norm=norm,
                norm_error=squares[name].error / (2 * norm) if norm else 0.0,
                share=own / total if total else None,
            )
        )
    return rows

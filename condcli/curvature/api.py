"""The Python API of the exact curvature: a model and data become rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condcli.analysis.defaults import PERCENTAGES
from condcli.analysis.exact import ExactRow, exact_rows, off_diagonal_share
from condcli.analysis.matrix_free import MatrixFreeRow, matrix_free_rows
from condcli.analysis.scale_law import ScaleEffect, ScaleLawRow, scale_law_row
from condcli.errors import UsageError
from condcli.inputs import naming_file

if TYPE_CHECKING:
    from torch import nn

    from condcli.curvature.operators import CurvatureOperator
    from condcli.curvature.setting import Setting
    from condcli.data import ProbeSet
    from condcli.models import Model

MATRICES = ("fim", "sample-gradients", "ggn", "hessian")


@dataclass(frozen=True, kw_only=True, eq=False)
class Exact:
    """The exact matrix of a network, block by block, beside its Kronecker approximation."""

    rows: list[ExactRow]  # the layers in forward order, then `(all layers)`
    matrix: str  # fim, sample-gradients or ggn
    off_diagonal_share: float | None  # of ‖F‖_F², in blocks between two layers
    examples: int
    terms: int
    columns: int  # F = A Aᵀ / terms, with so many columns in A
    tied: bool  # whether batch statistics tie the examples together
    loss: float  # mean
    loss_name: str
    data: str


def exact(
    model: nn.Module | Model | str | Path,
    data: ProbeSet | str | Path | Iterable[Any] | None = None,
    *,
    matrix: str = "fim",
    mc_samples: int | None = None,
    percent: Sequence[float] = PERCENTAGES,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> Exact:
    """The exact block of every layer's weights beside Σ_x ⊗ Σ_∇h, in float64.

    ``matrix`` is ``fim`` (labels from the network's own prediction: all of them, or
    ``mc_samples`` drawn for each example), ``ggn``, which is the same for every loss that condcli
    knows, or ``sample-gradients`` (the true labels). The other ``options`` are those of
    `condcli.probe` that say which data and layers, and how: ``samples`` (128 if not given),
    ``batch_size``, ``seed``, ``norm``, ``loss``, ``device``, ``layers``, ``root``, ``split``, ….
    docs/exact.md defines every number. The model is left exactly as it was.

    Raises a CondcliError: UsageError for a matrix that does not exist or that the loss does not
    have, InputError when model and data do not fit each other, CannotFinishError when memory is
    too short.
    """
    from condcli.curvature.dense import dense_blocks
    from condcli.curvature.room import require_room_for_matrices
    from condcli.curvature.setting import setting_of

    if matrix == "hessian":
        raise UsageError(
            "the Hessian is no product of columns", "pass --matrix-free, or another --matrix"
        )
    fisher, drawn = fisher_of(matrix, mc_samples)
    setting = setting_of(model, data, **options)
    require_room_for_matrices(setting, fisher, mc_samples=drawn)
    with naming_file(setting.subject):
        found = dense_blocks(setting, fisher, mc_samples=drawn, progress=progress)
    return Exact(
        rows=exact_rows(found.blocks, found.whole, percent=percent),
        matrix=matrix,
        off_diagonal_share=off_diagonal_share(found.blocks, found.whole),
        examples=found.examples,
        terms=found.terms,
        columns=found.columns,
        tied=found.tied,
        loss=found.loss,
        loss_name=setting.loss.name,
        data=source_of(setting),
    )


def curvature_operator(
    model: nn.Module | Model | str | Path,
    data: ProbeSet | str | Path | Iterable[Any] | None = None,
    *,
    matrix: str = "fim",
    mc_samples: int | None = None,
    **options: Any,
) -> CurvatureOperator:
    """The matrix as a SciPy ``LinearOperator``: products with it, in float64, and no matrix.

    ``matrix`` can be ``hessian``, too. Its ``places`` say where each layer's weights are in a
    vector, ``of(layer)`` is one layer's diagonal block; `condcli.analysis.stochastic` has Lanczos,
    traces and densities for it. The model is left exactly as it was by each product. Options and
    errors are those of `exact`.
    """
    from condcli.curvature.operators import CurvatureOperator, weight_blocks
    from condcli.curvature.setting import setting_of

    fisher, drawn = fisher_of(matrix, mc_samples)
    setting = setting_of(model, data, **options)
    return CurvatureOperator(setting, weight_blocks(setting), fisher, mc_samples=drawn)


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """What products alone tell of a network's curvature matrix."""

    rows: list[MatrixFreeRow]  # the layers in forward order, then `(all layers)`
    matrix: str
    vectors: int
    examples: int
    loss_name: str
    data: str


def exact_estimates(
    model: nn.Module | Model | str | Path,
    data: ProbeSet | str | Path | Iterable[Any] | None = None,
    *,
    vectors: int = 30,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> Estimates:
    """Extreme eigenvalues, traces and norms of every layer's block, without any matrix.

    Each of ``vectors`` random vectors takes a product, and Lanczos a few dozen, for every layer and
    the whole. The other ``options`` and errors are those of `curvature_operator`.
    """
    operator = curvature_operator(model, data, seed=seed, **options)
    setting = operator.setting
    with naming_file(setting.subject):
        rows = matrix_free_rows(
            {layer: operator.of(layer) for layer in operator.places},
            operator,
            indefinite=operator.matrix == "hessian",
            vectors=vectors,
            seed=seed,
            progress=progress,
        )
    return Estimates(
        rows=rows,
        matrix=options.get("matrix", "fim"),
        vectors=vectors,
        examples=setting.probe_set.examples,
        loss_name=setting.loss.name,
        data=source_of(setting),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaleLaw:
    """What scaling one layer's weight at a time moves."""

    rows: list[ScaleLawRow]  # the scaled layers in forward order
    effects: dict[str, list[ScaleEffect]]  # of each, on every layer
    alpha: float
    examples: int
    loss: float  # mean, of the network as it is
    loss_name: str
    data: str


def scale_law(
    model: nn.Module | Model | str | Path,
    data: ProbeSet | str | Path | Iterable[Any] | None = None,
    *,
    alpha: float = 2.0,
    layers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> ScaleLaw:
    """Which layers' inputs and gradients move when one layer's weight is multiplied by ``alpha``.

    Each layer that ``layers`` and ``exclude`` leave is scaled in turn, alone, and all are measured,
    in float64. The other ``options`` are those of `exact`. The model is left exactly as it was.

    Raises a CondcliError: UsageError for an alpha that is not positive or is 1, and where no layer
    is left to scale; InputError when model and data do not fit each other, no layer can be scaled,
    or a number is not finite.
    """
    from condcli.capture.options import Options
    from condcli.curvature.scaling import scaled_layers
    from condcli.curvature.setting import setting_of

    if not (0 < alpha < math.inf and alpha != 1):
        raise UsageError(f"alpha {alpha:g} scales nothing", "pass a number above 0 other than 1")
    setting = setting_of(model, data, **options)
    chosen: Options = replace(setting.options, layers=tuple(layers), exclude=tuple(exclude))
    with naming_file(setting.subject):
        before, found = scaled_layers(setting, alpha, wanted=chosen.wants, progress=progress)
    return ScaleLaw(
        rows=[scale_law_row(item.effects, alpha, item.loss) for item in found],
        effects={item.layer: item.effects for item in found},
        alpha=alpha,
        examples=setting.probe_set.examples,
        loss=before,
        loss_name=setting.loss.name,
        data=source_of(setting),
    )


def source_of(setting: Setting) -> str:
    """The data's name and split."""
    return f"{setting.probe_set.source} {setting.probe_set.split}".strip()


def fisher_of(matrix: str, mc_samples: int | None) -> tuple[str, int]:
    """The Fisher type that a matrix's name means, and how many labels it draws an example."""
    if matrix not in MATRICES:
        raise UsageError(f"matrix {matrix!r} does not exist", f"choose {', '.join(MATRICES)}")
    if mc_samples is None:
        return {"sample-gradients": "empirical", "hessian": "hessian"}.get(matrix, "exact"), 1
    if matrix != "fim":
        raise UsageError(f"{matrix} draws no labels", "leave out --mc-samples, or ask for fim")
    if mc_samples < 1:
        raise UsageError(f"{mc_samples} drawn labels make no matrix", "pass 1 or more")
    return "mc", mc_samples

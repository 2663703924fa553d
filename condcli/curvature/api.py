"""The Python API of the exact curvature: a model and data become rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condcli.analysis.defaults import PERCENTAGES
from condcli.analysis.exact import ExactRow, exact_rows, off_diagonal_share
from condcli.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from condcli.curvature.setting import Setting
    from condcli.data import ProbeSet
    from condcli.models import Model

MATRICES = ("fim", "sample-gradients", "ggn")


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
    samples: int | None = 128,
    batch_size: int = 128,
    seed: int = 0,
    norm: str = "batch",
    loss: str = "auto",
    ignore_label: int = -100,
    device: str = "auto",
    layers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    **place: Any,
) -> Exact:
    """The exact block of every layer's weights beside Σ_x ⊗ Σ_∇h, in float64.

    ``matrix`` is ``fim`` (labels from the network's own prediction: all of them, or
    ``mc_samples`` drawn for each example), ``ggn``, which is the same for every loss that condcli
    knows, or ``sample-gradients`` (the true labels). The other options, and those of ``place``
    (``root``, ``split``, ``normalize``, …), are those of `condcli.probe`; docs/exact.md defines
    every number. The model is left exactly as it was.

    Raises a CondcliError: UsageError for a matrix that does not exist or that the loss does not
    have, InputError when model and data do not fit each other, CannotFinishError when memory is
    too short.
    """
    from condcli.curvature.dense import dense_blocks
    from condcli.curvature.room import require_room_for_matrices
    from condcli.curvature.setting import setting_of
    from condcli.inputs import naming_file

    fisher, drawn = fisher_of(matrix, mc_samples)
    setting = setting_of(
        model,
        data,
        samples=samples,
        batch_size=batch_size,
        seed=seed,
        norm=norm,
        loss=loss,
        ignore_label=ignore_label,
        device=device,
        layers=layers,
        exclude=exclude,
        **place,
    )
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


def source_of(setting: Setting) -> str:
    """The data's name and split."""
    return f"{setting.probe_set.source} {setting.probe_set.split}".strip()


def fisher_of(matrix: str, mc_samples: int | None) -> tuple[str, int]:
    """The Fisher type that a matrix's name means, and how many labels it draws an example."""
    if matrix not in MATRICES:
        raise UsageError(f"matrix {matrix!r} does not exist", f"choose {', '.join(MATRICES)}")
    if mc_samples is None:
        return ("empirical" if matrix == "sample-gradients" else "exact"), 1
    if matrix != "fim":
        raise UsageError(f"{matrix} draws no labels", "leave out --mc-samples, or ask for fim")
    if mc_samples < 1:
        raise UsageError(f"{mc_samples} drawn labels make no matrix", "pass 1 or more")
    return "mc", mc_samples

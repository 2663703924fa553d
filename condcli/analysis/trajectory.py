"""A run: what probes of one network at several steps of its training measured, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from condcli import statsfile
from condcli.analysis.condition import ConditionNumber
from condcli.analysis.defaults import PERCENT
from condcli.analysis.domination import DominationRow, domination
from condcli.analysis.leading import LeadingRow, leading_eigenvalues
from condcli.analysis.neurons import NeuronRow, neurons
from condcli.analysis.scaling import known
from condcli.analysis.spectrum import SpectrumRow, spectrum
from condcli.analysis.spectrum import key as percent_key
from condcli.analysis.steps import Numbered, StepFrom, files_of, numbered
from condcli.errors import InputError
from condcli.stats import Provenance

_ALIKE = ("conv", "norm", "fisher", "loss_name")  # what changes the numbers' meaning
_NOT_ASKED_FOR = ConditionNumber(value=None, lower_bound=None, rank=0, size=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPoint:
    """One layer at one step; None where a number is not known. Without a suffix the sub-FIM's."""

    kind: str
    d_in: int
    d_out: int
    lambda_max_input: float | None  # as in a `SpectrumRow`, in the scale of the conv view
    lambda_max_grad: float | None
    lambda_max: float | None
    kappa_input: ConditionNumber  # κ_p, for the p that was asked for; undefined where none was
    kappa_grad: ConditionNumber
    kappa: ConditionNumber
    ratio: float | None  # σ_max(∂L/∂W) / σ_max(W)
    sigma_max_weight: float | None
    sigma_max_grad: float | None
    weight_norm: float | None  # ‖W‖_F
    weight_grad_norm: float | None  # ‖∂L/∂W‖_F
    grad_moment_lambda_max: float | None  # λ_max(Σ_∂W), as in a `DominationRow`


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One file of a run: the network at one step."""

    path: Path
    step: int
    step_from: StepFrom
    provenance: Provenance
    loss: float | None  # None where it is NaN
    accuracy: float | None
    layers: Mapping[str, LayerPoint]  # in forward order, those that were asked for
    activations: Mapping[str, NeuronRow]  # units, rows, dying, full, saturated_share


def trajectory(
    paths: Iterable[str | Path],
    *,
    percent: float | None = PERCENT,
    workers: int = 1,
    cache: bool = False,
    layers: str | None = None,
) -> list[Point]:
    """What the files of a run hold, by ascending step; a folder stands for its ``*.h5``.

    One file is in memory at a time, `workers` of its layers side by side. `cache` keeps
    eigenvalues in the files. κ_p is of `percent` = 100·p; without one no more than the largest
    eigenvalues are computed. `layers` is a glob on names, which may match none. Raises
    `InputError` that names two files of one step, of different networks or of different measures,
    and all that `spectrum` and `domination` raise.
    """
    points: list[Point] = []
    for item in numbered(files_of(paths)):
        points.append(point_of(item, percent=percent, workers=workers, cache=cache, layers=layers))
        require_one_network(points[0], points[-1])
    return points


def point_of(
    item: Numbered,
    *,
    percent: float | None,
    workers: int = 1,
    cache: bool = False,
    layers: str | None = None,
) -> Point:
    """One file of a run; options and errors as in `trajectory`."""
    stats = statsfile.read(item.path)
    if cache:
        statsfile.check_keepable(item.path)
    keep = partial(statsfile.keep_spectra, stats) if cache else None
    rows: Sequence[SpectrumRow | LeadingRow] = []
    weights: Sequence[DominationRow] = []
    try:
        if layers is None or any(fnmatchcase(name, layers) for name in stats.layers):
            chosen: dict[str, Any] = {"layers": layers, "workers": workers}
            if percent is None:
                rows = leading_eigenvalues(stats, 1, **chosen)
            else:
                rows = spectrum(stats, percent=[percent], keep=keep, **chosen)
            weights = domination(stats, layers=layers)
    except InputError as error:
        if error.message.startswith(f"{item.path}:"):
            raise
        raise InputError(f"{item.path}: {error.message}", error.remedy) from error
    return point_from(item, stats.provenance, rows, weights, neurons(stats), percent=percent)


def point_from(
    item: Numbered,
    provenance: Provenance,
    rows: Sequence[SpectrumRow | LeadingRow],
    weights: Sequence[DominationRow],
    activations: Sequence[NeuronRow],
    *,
    percent: float | None,
) -> Point:
    """One file of a run, of which the analyses are there already."""
    return Point(
        path=item.path,
        step=item.step,
        step_from=item.step_from,
        provenance=provenance,
        loss=known(provenance.loss),
        accuracy=provenance.accuracy,
        layers={
            row.layer: _layer(row, weight, percent)
            for row, weight in zip(rows, weights, strict=True)
        },
        activations={row.activation: row for row in activations},
    )


def require_one_run(first: Point, other: Point) -> None:
    """Raise `InputError` unless both are of one network, measured alike, with the same layers."""
    require_one_network(first, other)
    for name in dict.fromkeys([*first.layers, *other.layers]):
        if name not in first.layers or name not in other.layers:
            raise _different(first, other, name)


def require_one_network(first: Point, other: Point) -> None:
    """Raise `InputError` unless both are of the same network, measured alike.

    Either may lack layers of the other: those that were frozen, did not run, or were left out.
    """
    for name in _ALIKE:
        own, others = getattr(first.provenance, name), getattr(other.provenance, name)
        if own != others:
            raise InputError(
                f"{first.path} and {other.path} were not probed alike: {name} is {own} and "
                f"{others}",
                "probe all checkpoints of a run with the same options",
            )
    counts = [point.provenance.parameters for point in (first, other)]
    if counts[0] != counts[1]:
        raise InputError(
            f"{first.path} and {other.path} are not of one network: it has {counts[0]} and "
            f"{counts[1]} parameters",
            "pass the files of one run",
        )
    shared = [name for name in first.layers if name in other.layers]
    if first.layers and other.layers and not shared:
        raise _different(first, other, next(iter(first.layers)))
    for name in shared:
        if _shape(first.layers[name]) != _shape(other.layers[name]):
            raise _different(first, other, name)


def _different(first: Point, other: Point, name: str) -> InputError:
    shapes = [_shape(point.layers.get(name)) for point in (first, other)]
    return InputError(
        f"{first.path} and {other.path} are not of one network: layer {name!r} is {shapes[0]} and "
        f"{shapes[1]}",
        "pass the files of one run, probed with the same --layers and --exclude",
    )


def _shape(layer: LayerPoint | None) -> str:
    return "absent" if layer is None else f"{layer.kind} {layer.d_in}→{layer.d_out}"


def _layer(
    row: SpectrumRow | LeadingRow, weight: DominationRow, percent: float | None
) -> LayerPoint:
    if isinstance(row, LeadingRow):
        largest = row.lambda_k_input, row.lambda_k_grad, row.lambda_k
        kappas = [_NOT_ASKED_FOR] * 3
    else:
        assert percent is not None, "whole spectra are there for a κ_p"
        largest = row.lambda_max_input, row.lambda_max_grad, row.lambda_max
        kappas = [
            each[percent_key(percent)] for each in (row.kappa_input, row.kappa_grad, row.kappa)
        ]
    return LayerPoint(
        kind=row.kind,
        d_in=row.d_in,
        d_out=row.d_out,
        lambda_max_input=largest[0],
        lambda_max_grad=largest[1],
        lambda_max=largest[2],
        kappa_input=kappas[0],
        kappa_grad=kappas[1],
        kappa=kappas[2],
        ratio=weight.ratio,
        sigma_max_weight=weight.sigma_max_weight,
        sigma_max_grad=weight.sigma_max_grad,
        weight_norm=weight.weight_norm,
        weight_grad_norm=weight.weight_grad_norm,
        grad_moment_lambda_max=weight.grad_moment_lambda_max,
    )

"""The eigenvalues of every layer's moments: as the file keeps them, or else computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from condcli.analysis.eigenvalues import (
    Spectrum,
    leading_spectrum_of,
    spectrum_of,
    unknown_spectrum,
)
from condcli.analysis.factors import factor_spectrum_of
from condcli.analysis.scaling import gradients_a_row
from condcli.analysis.selection import selected_names
from condcli.analysis.solvers import EigenSolver, Solve
from condcli.stats import FloatArray, LayerSpectra, LayerStats, ProbeStats, Provenance
from condcli.statsfile import Records, kept_spectra

Find = Callable[..., Spectrum]  # of a matrix, given its rows, precision, name and solver

_SMALL = 2**24  # bytes of a file whose layers are solved sooner than threads start
_MEMORY = 2**31  # bytes that layers solved side by side may take
_COPIES = 5  # of a float32 matrix: itself, in float64, and LAPACK's own copy of that


def layer_spectra(
    stats: ProbeStats,
    *,
    top: int | None = None,
    layers: str | None = None,
    solve: Solve = np.linalg.eigvalsh,
    workers: int = 1,
) -> list[LayerSpectra]:
    """The eigenvalues of the moments of the selected layers, as stored, in forward order.

    With `top`, at least so many of the largest of each group; else all. Up to so many `workers`
    take a layer each at a time, which pays where BLAS has one thread. Raises `UsageError` for a
    glob that matches nothing and `InputError` naming a layer whose matrix is no second moment.
    """
    of_layer = partial(_of_layer, stats=stats, top=top, solve=solve)
    names = selected_names(stats, layers)
    return list(_in_threads(of_layer, names, min(workers, _room(stats, names))))


def _room(stats: ProbeStats, names: list[str]) -> int:
    """How many layers may be in memory at a time."""
    if not isinstance(stats.layers, Records) or not names:
        return len(names)
    if stats.layers.file.get_filesize() < _SMALL:
        return 1
    largest = max(map(stats.layers.stored_bytes, names))
    return max(1, min(len(names), _MEMORY // (1 + _COPIES * largest)))


def _in_threads(
    function: Callable[[str], LayerSpectra], names: list[str], workers: int
) -> Iterator[LayerSpectra]:
    """The results in order; the first error ends all that has not begun."""
    if workers < 2:
        yield from map(function, names)
        return
    from concurrent.futures import ThreadPoolExecutor  # takes 10 ms

    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(function, names)
    finally:
        pool.shutdown(cancel_futures=True)


def _of_layer(name: str, *, stats: ProbeStats, top: int | None, solve: Solve) -> LayerSpectra:
    kept = kept_spectra(stats, name)
    if kept is not None:
        return kept
    return _computed(stats.layers[name], stats.provenance, top, solve)


def _computed(
    layer: LayerStats, provenance: Provenance, top: int | None, solve: Solve
) -> LayerSpectra:
    notes = [f"not finite: {layer.nonfinite}"] if layer.nonfinite else []

    def found(find: Find, matrix: FloatArray, rows: int, what: str) -> Spectrum:
        name = f"layer {layer.name!r}: its {what} moment"
        if layer.nonfinite and not np.isfinite(matrix).all():
            return unknown_spectrum(matrix)
        solver = EigenSolver(solve, name)
        spectrum = find(
            matrix, rows=rows, eps=float(np.finfo(provenance.dtype).eps), name=name, solve=solver
        )
        notes.extend([f"{what}: {solver.note}"] if solver.note else [])
        return spectrum

    x = found(
        *_way(layer.input_moment, layer.input_factor, layer.input_error, top),
        layer.input_rows,
        "input",
    )
    grad = found(
        *_way(layer.grad_moment, layer.grad_factor, layer.grad_error, top),
        layer.rows * gradients_a_row(provenance),
        "gradient",
    )
    return LayerSpectra(
        name=layer.name,
        kind=layer.kind,
        rows=layer.rows,
        d_in=layer.d_in,
        d_out=layer.d_out,
        groups=layer.groups,
        positions=layer.positions,
        input_eigenvalues=x.values,
        input_floor=x.floor[:, 0],
        input_ceiling=x.ceiling[:, 0],
        grad_eigenvalues=grad.values,
        grad_floor=grad.floor[:, 0],
        grad_ceiling=grad.ceiling[:, 0],
        input_error=layer.input_error,
        grad_error=layer.grad_error,
        note="; ".join(notes) or None,
    )


def _way(
    moment: FloatArray | None, factor: FloatArray | None, error: float | None, top: int | None
) -> tuple[Find, FloatArray]:
    """How to find the spectrum of a moment, and of what: the moment itself or its factor."""
    if moment is not None:
        return spectrum_of if top is None else partial(leading_spectrum_of, count=top), moment
    assert factor is not None, "a layer with neither moment nor factor cannot be read"
    assert error is not None, "nor one that has a factor and no error"
    return partial(factor_spectrum_of, error=error, count=top), factor

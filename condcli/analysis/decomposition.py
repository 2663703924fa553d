"""The eigenvalues of every layer's moments: as the file keeps them, or else computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from condcli.analysis.eigenvalues import Spectrum, leading_spectrum_of, spectrum_of
from condcli.analysis.low_rank import Solve
from condcli.analysis.selection import selected_names
from condcli.stats import FloatArray, LayerSpectra, LayerStats, ProbeStats
from condcli.statsfile import kept_spectra

Find = Callable[..., Spectrum]  # of a moment, given its rows, precision and name


def layer_spectra(
    stats: ProbeStats,
    *,
    top: int | None = None,
    layers: str | None = None,
    solve: Solve = np.linalg.eigvalsh,
    workers: int = 1,
) -> list[LayerSpectra]:
    """The eigenvalues of the moments of the selected layers, as stored, in forward order.

    With `top`, at least so many of the largest of each group; else all. So many `workers` take a
    layer each at a time, which pays where BLAS has one thread. Raises `UsageError` for a glob that
    matches nothing and `InputError` naming a layer whose matrix is no second moment.
    """
    find: Find = spectrum_of if top is None else partial(leading_spectrum_of, count=top)
    of_layer = partial(_of_layer, stats=stats, find=partial(find, solve=solve))
    return list(_in_threads(of_layer, selected_names(stats, layers), workers))


def _in_threads(
    function: Callable[[str], LayerSpectra], names: list[str], workers: int
) -> Iterator[LayerSpectra]:
    """The results in order; the first error ends all that has not begun."""
    if workers == 1 or len(names) < 2:
        yield from map(function, names)
        return
    from concurrent.futures import ThreadPoolExecutor  # takes 10 ms

    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(function, names)
    finally:
        pool.shutdown(cancel_futures=True)


def _of_layer(name: str, *, stats: ProbeStats, find: Find) -> LayerSpectra:
    kept = kept_spectra(stats, name)
    return _computed(stats.layers[name], stats.provenance.dtype, find) if kept is None else kept


def _computed(layer: LayerStats, dtype: str, find: Find) -> LayerSpectra:
    def found(moment: FloatArray, rows: int, what: str) -> Spectrum:
        name = f"layer {layer.name!r}: its {what} moment"
        return find(moment, rows=rows, eps=float(np.finfo(dtype).eps), name=name)

    x = found(layer.input_moment, layer.input_rows, "input")
    grad = found(layer.grad_moment, layer.rows, "gradient")
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
    )

"""The eigenvalues of every layer of statistics files, from the largest to the noise floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from condcli.analysis.decomposition import layer_spectra
from condcli.analysis.eigenvalues import Spectrum
from condcli.analysis.scaling import reported
from condcli.errors import UsageError, naming
from condcli.output.plots.curves import Along, Panel, curve_figure
from condcli.output.plots.key import Key
from condcli.output.plots.lines import Curve
from condcli.output.plots.quantities import GRAD, INPUT
from condcli.output.plots.sources import Options, Sample, chosen
from condcli.output.plots.spectra_map import map_figure
from condcli.output.plots.style import Look, label, looks
from condcli.stats import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_ROWS = 6
_MOST_LINES = 60
_POINTS = 200  # of a curve: more cannot be seen
_TITLES = (f"eigenvalues of {INPUT}", f"eigenvalues of {GRAD}")


def spectra(samples: Sequence[Sample], options: Options) -> Figure:
    """Eigenvalues of Σ_x and Σ_∇h against their place, in percent; a row a file, a curve a layer.

    A curve ends where eigenvalues are below the noise floor. Of more than 60 layers, a map each.
    """
    if len(samples) > _MOST_ROWS:
        raise UsageError(
            f"{len(samples)} files do not fit onto a page", f"plot at most {_MOST_ROWS} at a time"
        )
    names = [
        chosen(sample.stats.layers, options, what="layer", where=sample.path) for sample in samples
    ]
    longest = max(names, key=len)
    found = [_found(sample, options) for sample in samples]
    if len(longest) > _MOST_LINES:
        return map_figure([sample.name for sample in samples], found, _TITLES)
    same = all(each == longest for each in names)
    key = Key(
        title="layer, in forward order",
        names=longest if same else [f"layer {n}" for n in range(1, len(longest) + 1)],
        looks=looks(len(longest)),
    )
    grid = [
        [_panel(sample, title, each, key) for title, each in zip(_TITLES, pair, strict=True)]
        for sample, pair in zip(samples, found, strict=True)
    ]
    return curve_figure(grid, Along(title="place among the eigenvalues, % of d"), key)


def _found(sample: Sample, options: Options) -> tuple[list[Spectrum], list[Spectrum]]:
    """The spectra of Σ_x and those of Σ_∇h of every layer."""
    with naming(sample.path):
        found = layer_spectra(sample.stats, layers=options.layers, workers=options.workers)
    pairs = [reported(item, sample.stats.provenance.conv) for item in found]
    return [pair.input for pair in pairs], [pair.grad for pair in pairs]


def _panel(sample: Sample, title: str, layers: Sequence[Spectrum], key: Key) -> Panel:
    curves = [_curve(found, look) for found, look in zip(layers, key.looks, strict=False)]
    return Panel(title=title, row_title=label(sample.name), curves=curves)


def _curve(found: Spectrum, look: Look) -> Curve:
    values = resolved(found)
    shown = _shown(found.size)
    return Curve(
        look=look,
        places=(100 * (shown + 1) / found.size).tolist(),
        values=[float(values[k]) if k < len(values) else None for k in shown],
    )


def resolved(found: Spectrum) -> FloatArray:
    """The eigenvalues above the noise floor, of all groups together, descending."""
    values: FloatArray = np.sort(found.values[found.resolved])[::-1]
    return values


def _shown(size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The places, from 0, at which a curve has points: the first ones all, the others evenly."""
    few = np.arange(min(size, _POINTS // 4))
    rest = np.linspace(0, size - 1, min(size, _POINTS)).round().astype(np.int64)
    return np.unique(np.concatenate([few, rest]))
